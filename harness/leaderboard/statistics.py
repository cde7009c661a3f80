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
    """A mean over seeds; of a single one neither its standard deviation nor its 95 % interval is known.

    Seeds that all agree have a standard deviation of 0 and no interval: they do not tell where another would lie.
    """

    value: float
    n: int
    sd: float | None = None
    """Of the values, with n - 1 in the denominator."""
    interval: tuple[float, float] | None = None
    """Of the mean."""

    def verdict(self, better: Literal["higher", "lower"]) -> Verdict | None:
        """Of a mean difference: `shown` if its interval lies on the better side of 0, `reversed` if on the other.

        None of a single seed, `not shown` without an interval.
        """
        if self.n == 1:
            return None
        low, high = self.interval or (0.0, 0.0)
        above, below = low > 0, high < 0
        if better == "lower":
            above, below = below, above
        return "shown" if above else "reversed" if below else "not shown"


def mean_of(values: Sequence[float], *, resolution: float = 0.0) -> Mean:
    """The mean of at least one value; a standard deviation up to `resolution` is rounding and counts as 0."""
    value = mean(values)
    if len(values) == 1:
        return Mean(value, 1)
    sd = stdev(values)
    if sd <= resolution:
        return Mean(value, len(values), 0.0)
    half = float(t.ppf(0.975, len(values) - 1)) * sd / math.sqrt(len(values))
    return Mean(value, len(values), sd, (value - half, value + half))


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float], *, resolution: float) -> Mean | None:
    """The mean of ours - theirs over the seeds that both have; both map seeds to values. None without such a seed.

    `resolution`: as in `mean_of`, for differences.
    """
    shared = [seed for seed in ours if seed in theirs]
    return mean_of([ours[seed] - theirs[seed] for seed in shared], resolution=resolution) if shared else None
