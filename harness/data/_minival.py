"""A minival: training images set aside, so that choices never look at the images a row is about.

Lives here: `cut`. Must not: what is chosen on it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.data._draws import MINIVAL, uniform
from harness.data.source import Images
from harness.errors import UserError


class Subset:
    """Some images of a split, in the split's order."""

    def __init__(self, images: Images, chosen: NDArray[np.int64], listing: str) -> None:
        self.class_names = images.class_names
        self.labels: Sequence[int] = [images.labels[i] for i in chosen]
        self.listing = listing
        self._images, self._chosen = images, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], str]:
        """See `harness.data.source.Images`."""
        return self._images[int(self._chosen[index])]


def cut(images: Images, share: float, seed: int) -> tuple[Subset, Subset]:
    """What is left to train on, and the minival: round(share * n) of the n images of every class, drawn by `seed`."""
    labels, draws = np.asarray(images.labels), uniform(seed, 0, MINIVAL, np.arange(len(images)))
    aside = np.zeros(len(images), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        aside[members[np.argsort(draws[members], kind="stable")[: round(share * len(members))]]] = True
    if not aside.any() or aside.all():
        raise UserError(f"a minival of {share} of {len(images)} training images leaves one of the two empty")
    name = f"{images.listing} minival {share} {seed}"
    return (
        Subset(images, np.flatnonzero(~aside), f"{name}, the rest"),
        Subset(images, np.flatnonzero(aside), name),
    )
