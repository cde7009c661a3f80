"""One comparison with a baseline: what either side took, turn by turn, and the ratio that is aimed at.

Lives here: `Measurement`. Must not: measuring (`interleaved`), files (`record`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Means = Literal["times as fast", "times the time", "times the memory"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """`ours` and `baseline_took` are what one piece of work took, in `unit`, of the same turns."""

    name: str
    """Subject and case; no two measurements share one."""
    setting: str
    """Sizes, workers, threads: what somebody needs to do it again."""
    baseline: str
    means: Means
    """What the ratio says: baseline / ours for `times as fast`, ours / baseline for the others."""
    aim: float
    """At least this for `times as fast`, at most this for the others."""
    unit: Literal["s", "MiB"]
    ours: Sequence[float]
    baseline_took: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """One per turn."""
        pairs = zip(self.ours, self.baseline_took, strict=True)
        return [theirs / mine if self.higher_is_better else mine / theirs for mine, theirs in pairs]

    @property
    def higher_is_better(self) -> bool:
        return self.means == "times as fast"

    @property
    def met(self) -> bool:
        """Whether the median ratio reaches the aim."""
        ratio = median(self.ratios)
        return ratio >= self.aim if self.higher_is_better else ratio <= self.aim

    def row(self) -> dict[str, str]:
        """The cells of this measurement in the record; ratios and amounts to four digits."""
        ratios = self.ratios
        return {
            "measurement": self.name,
            "setting": self.setting,
            "baseline": self.baseline,
            "ratio_means": f"{self.means} ({'higher' if self.higher_is_better else 'lower'} is better)",
            "ratio_median": f"{median(ratios):.4g}",
            "ratio_lowest": f"{min(ratios):.4g}",
            "ratio_highest": f"{max(ratios):.4g}",
            "turns": str(len(ratios)),
            "ours_median": f"{median(self.ours):.4g}",
            "baseline_median": f"{median(self.baseline_took):.4g}",
            "unit": self.unit,
            "aim": f"{'>=' if self.higher_is_better else '<='} {self.aim:g}",
            "met": "yes" if self.met else "no",
        }

    def line(self) -> str:
        """The same for a reader at a terminal."""
        row = self.row()
        return (
            f"{self.name:<40} {row['ratio_median']:>6} {self.means:<16} ({row['ratio_lowest']} .. "
            f"{row['ratio_highest']}, {row['turns']} turns)  aim {row['aim']}: {row['met']}   "
            f"{row['ours_median']} {self.unit} beside {row['baseline_median']} {self.unit} of {self.baseline}"
        )
