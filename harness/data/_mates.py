"""Samples of the same class, for methods that compare two of them.

Lives here: `Classmates`. Must not: the draw that picks one (`harness.data._draws`), images.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Classmates:
    """Picks, for any samples at once, another one of the same label."""

    def __init__(self, labels: Ints) -> None:
        """`labels` [n] of all samples; sorted once, a quarter of a second for 1.3 million."""
        self._by_label = np.argsort(labels, kind="stable")
        _, self._class, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self._starts, self._counts = np.cumsum(counts) - counts, counts
        self._places = np.empty_like(self._by_label)
        self._places[self._by_label] = np.arange(len(labels))

    def pick(self, indices: Ints, shares: NDArray[np.float64]) -> Ints:
        """One mate [n] for each sample of `indices` [n], uniform over its class without itself for uniform `shares`.

        `shares` [n] lie in [0, 1). The only sample of a class is its own mate.
        """
        of = self._class[indices]
        start, count = self._starts[of], self._counts[of]
        steps = 1 + np.floor(shares * (count - 1)).astype(np.int64)  # round the class, never as far as itself
        return self._by_label[start + (self._places[indices] - start + steps) % count]
