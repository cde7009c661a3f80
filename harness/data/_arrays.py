"""Images that already lie in memory.

Lives here: `ArrayImages`. Must not: where the arrays come from.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class ArrayImages:
    """One split as arrays: `pixels` uint8 [n, height, width, 3], `labels` [n]."""

    def __init__(
        self, pixels: NDArray[np.uint8], labels: Sequence[int], class_names: Sequence[str], *, listing: str
    ) -> None:
        self.class_names = list(class_names)
        self.labels = [int(label) for label in labels]
        self.listing = listing
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], str]:
        """Pixels, uint8 [height, width, 3], and the SHA-256 of their shape and bytes."""
        pixels = self._pixels[index]
        return pixels, hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
