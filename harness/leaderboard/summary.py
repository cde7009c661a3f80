"""What the seeds of an entry say together, alone and beside another entry.

Lives here: means over rows, comparisons between entries, the cost of a whole table. Must not: how it is shown.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from harness.leaderboard.statistics import Mean, mean_of, paired_difference
from harness.row import Row

Summary = dict[str, Any]
"""One line of a table by the names of its columns."""


def summarise(rows: Iterable[Row]) -> list[Summary]:
    """One line for every (entry, fingerprint), in the order of the suite: what its seeds share, and means over them.

    What was measured has a standard deviation and a 95 % interval over the seeds beside it, `_sd`, `_low` and `_high`.
    Accuracies are in percent. The interval of top1 lies within 0 .. 100, and it is Wilson's over the images where seeds
    tell none.
    """
    return [
        {
            **{field: getattr(group[0], field) for field in COMMON},
            "entry": name,
            **_top1(group),
            **{field: _rounded(mean.value if (mean := _mean(group, field)) else None) for field in COUNTED},
            **{column: value for field in MEASURED for column, value in _columns(field, _mean(group, field)).items()},
        }
        for name, group in grouped(rows).items()
    ]


def compare(rows: Iterable[Row]) -> list[Summary]:
    """One line for every entry and each that it is compared with: mean differences of top1 and of the generalisation
    gap over the seeds of both.

    Differences are in percent points, the entry less the other, with 95 % intervals where two seeds or more are shared
    and do not all differ by the same. A verdict is on the claim that top1 is higher, or that the gap is smaller.
    Networks that saw different images are not compared.
    """
    groups = grouped(rows)
    by_seed = {
        (group[0].entry, group[0].fingerprint): {row.seed: row for row in group if row.seed is not None}
        for group in groups.values()
    }
    return [
        {
            "entry": name,
            "against": other,
            **_comparison(by_seed[row.entry, row.fingerprint], by_seed.get((other, row.fingerprint), {})),
        }
        for name, (row, *_) in groups.items()
        for other in row.against
    ]


def total_cost(rows: Iterable[Row]) -> dict[str, float]:
    """Image passes and device seconds of all rows: shared stages once, and counted for every row by itself."""
    rows = list(rows)
    stages = {key: cost for row in rows for key, cost in row.stages.items()}
    return {
        "image_passes": sum(passes for _, passes, _ in stages.values()),
        "device_seconds": round(sum(seconds for _, _, seconds in stages.values()), 1),
        "image_passes_alone": sum(row.image_passes for row in rows),
        "device_seconds_alone": round(sum(row.device_seconds for row in rows), 1),
    }


def grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows of one entry and one set of images, by name; where an entry has several sets, the name tells which."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.position, row.fingerprint, row.seed or 0, row.key)):
        groups.setdefault((row.entry, row.fingerprint), []).append(row)
    several = Counter(entry for entry, _ in groups)
    return {
        f"{entry} ({images.rpartition(' ')[2][:8]})" if several[entry] > 1 else entry: group
        for (entry, images), group in groups.items()
    }


def _top1(group: list[Row]) -> Summary:
    top1, promised = mean_of([row.top1 for row in group]), group[0].promised
    low, high = top1.interval or (group[0].top1_low, group[0].top1_high)
    return {
        "seeds": top1.n,
        **_columns("top1", top1),
        "top1_low": _rounded(max(0.0, low)),
        "top1_high": _rounded(min(100.0, high)),
        "promised_difference": None if promised is None else _rounded(top1.value - promised),
    }


def _comparison(ours: Mapping[int, Row], theirs: Mapping[int, Row]) -> Summary:
    top1, gap = _difference("top1", ours, theirs), _difference("gap", ours, theirs)
    return {
        "seeds": top1 and top1.n,
        **_columns("difference", top1),
        "verdict": top1 and top1.verdict("higher"),
        **_columns("gap_difference", gap),
        "gap_verdict": gap and gap.verdict("lower"),
    }


def _difference(field: str, ours: Mapping[int, Row], theirs: Mapping[int, Row]) -> Mean | None:
    """None without a seed that both have, or if such a seed has no value."""
    shared = [seed for seed in ours if seed in theirs]
    values = [{seed: getattr(rows[seed], field) for seed in shared} for rows in (ours, theirs)]
    if any(None in by_seed.values() for by_seed in values):
        return None
    return paired_difference(*values, resolution=_ROUNDING)


def _mean(group: list[Row], field: str) -> Mean | None:
    """None if a seed has no value."""
    values = [getattr(row, field) for row in group]
    return None if None in values else mean_of(values)


def _columns(name: str, mean: Mean | None) -> Summary:
    """A mean and how sure it is, blank where that is not known."""
    value, sd, interval = (mean.value, mean.sd, mean.interval) if mean else (None, None, None)
    low, high = interval or (None, None)
    found = {name: value, f"{name}_sd": sd, f"{name}_low": low, f"{name}_high": high}
    return {column: _rounded(number) for column, number in found.items()}


def _rounded(value: float | None) -> float | None:
    """The mean of equal whole numbers stays whole."""
    return None if value is None else round(value, 6)


_ROUNDING = 3e-4
"""Percent points. Rows tell accuracies to four decimals, so differences of the same few images seem to spread by up to
2.9e-4, where a gap is a difference itself. One image of 50,000 is 2e-3."""

COMMON = (
    "benchmark", "suite", "entry", "dataset", "fingerprint", "epoch_rule", "protocol", "n", "promised", "source",
)  # fmt: skip
COUNTED = (
    "parameters", "nonzeros", "teacher_nonzeros", "sparsity", "macs", "image_passes", "device_seconds",
)  # fmt: skip
MEASURED = (
    "top5", "confidence", "entropy", "nll", "ece", "margin", "logit_std", "compactness", "agreement",
    "train_top1", "train_confidence", "train_entropy", "train_nll", "train_ece", "train_margin", "train_logit_std",
    "gap", "gradient_flow", "smoothing", "smoothing_share", "smoothing_t10", "smoothing_share_t10",
)  # fmt: skip
