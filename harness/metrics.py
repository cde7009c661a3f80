"""Accuracy, counted.

Lives here: exact counts and their uncertainty. Must not: loops over data, sums over ranks.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def correct(logits: "Tensor", labels: "Tensor", ks: tuple[int, ...]) -> "Tensor":
    """For each k, how many labels (B,) are among the k largest logits (B, classes): int64 (len(ks),), on their device.

    A k above the number of classes counts them all.
    """
    best = logits.topk(min(max(ks), logits.shape[1]), dim=1).indices
    hits = (best == labels.unsqueeze(1)).cumsum(1).sum(0)
    return hits[[min(k, len(hits)) - 1 for k in ks]]


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of an accuracy of `hits` out of `n`, in percent (Wilson, 1927)."""
    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"{hits} hits out of {n} is not an accuracy")
    p, z2 = hits / n, _Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)
