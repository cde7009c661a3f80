"""Random numbers without a generator: a hash of (seed, epoch, purpose, index).

Lives here: `hashed`, `uniform`, `order`. Must not: what the numbers decide.

A draw depends on nothing but its own words, so it is the same in any worker, rank or process, and after a restart.
"""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

ORDER, FLIP, TOP, LEFT, AREA, RATIO, STORE, CLASSMATE, MATE, NOISE, MINIVAL = range(11)
"""What a draw is for: two purposes never share their numbers. New ones are added at the end.

MATE stands before another purpose: the crop and the flip of a sample's second image are draws of (MATE, TOP) and so on.
"""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def hashed(*words: int | NDArray[np.integer]) -> Words:
    """64 bits from whole numbers (broadcast against each other): SplitMix64's finaliser over one word after another."""
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        state = (state ^ np.atleast_1d(word).astype(np.uint64)) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state ^= state >> np.uint64(31)
    return state


def uniform(*words: int | NDArray[np.integer]) -> NDArray[np.float64]:
    """Numbers in [0, 1): the upper 53 bits of the hash."""
    return (hashed(*words) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The permutation of `count` samples that an epoch walks through."""
    return np.argsort(hashed(seed, epoch, ORDER, np.arange(count)), kind="stable")
