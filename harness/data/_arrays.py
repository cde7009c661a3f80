"""Images that already lie in memory.

Lives here: `ArrayImages`. Must not: where the arrays come from.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class ArrayImages:
    """One split as arrays: `pixels` uint8 [n, height, width, 3], `labels` [n]."""

    def __init__(self, pixels: NDArray[np.uint8], labels: Sequence[int], class_names: Sequence[str]) -> None:
        self.class_names = list(class_names)
        self.labels = [int(label) for label in labels]
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self._pixels[index], self.labels[index]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over class names, labels, shape and pixels."""
        facts = repr((self.class_names, self.labels, self._pixels.shape))
        return hashlib.sha256(facts.encode() + self._pixels.tobytes()).hexdigest()
