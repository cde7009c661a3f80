"""What a few seeds say: a mean, how sure it is, and whether a difference is shown.

Lives here: Student's t over seeds (Student, 1908), paired where entries share them. Must not: rows, tables, images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Literal

from scipy.stats import t

Verdict = Literal["shown", "reversed", "not shown"]


@dataclass(frozen=True)
class Mean:
    """A mean over seeds; of a single one neither its standard deviation nor its 95 % interval is known."""

    value: float
    n: int
    sd: float | None = None
    """Of the values, with n - 1 in the denominator."""
    interval: tuple[float, float] | None = None
    """Of the mean."""

    @property
    def verdict(self) -> Verdict | None:
        """Of a mean difference: `shown` if its interval lies above 0, `reversed` if below; None of a single seed."""
        if self.interval is None:
            return None
        low, high = self.interval
        return "shown" if low > 0 else "reversed" if high < 0 else "not shown"


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of at least one value; values that are all alike have an interval without width."""
    value = mean(values)
    if len(values) == 1:
        return Mean(value, 1)
    sd = stdev(values)
    half = float(t.ppf(0.975, len(values) - 1)) * sd / math.sqrt(len(values))
    return Mean(value, len(values), sd, (value - half, value + half))


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Mean | None:
    """The mean of ours - theirs over the seeds that both have; both map seeds to values. None without such a seed."""
    shared = [seed for seed in ours if seed in theirs]
    return mean_of([ours[seed] - theirs[seed] for seed in shared]) if shared else None
