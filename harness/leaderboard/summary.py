"""What the seeds of an entry say together, alone and beside another entry.

Lives here: means over rows, comparisons between entries, the cost of a whole table. Must not: how it is shown.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from harness.leaderboard.statistics import mean_of, paired_difference
from harness.row import Row

Summary = dict[str, Any]
"""One line of a table by the names of its columns."""


def summarise(rows: Iterable[Row]) -> list[Summary]:
    """One line for every (entry, fingerprint), in the order of the suite: what its seeds share, and means over them.

    Accuracies are in percent, with 95 % intervals. With one seed the interval of top1 is Wilson's over the images; with
    more it is Student's over the seeds, and no accuracy lies outside 0 .. 100.
    """
    return [
        {
            **{field: getattr(group[0], field) for field in COMMON},
            "entry": name,
            **_top1(group),
            **{field: _average([getattr(row, field) for row in group]) for field in AVERAGED},
        }
        for name, group in _grouped(rows).items()
    ]


def compare(rows: Iterable[Row]) -> list[Summary]:
    """One line for every entry and each that it is compared with: the mean difference of top1 over the seeds of both.

    Differences are in percent points, with 95 % intervals and a verdict where two seeds or more are shared. Networks
    that saw different images are not compared.
    """
    groups = _grouped(rows)
    top1 = {
        (group[0].entry, group[0].fingerprint): {row.seed: row.top1 for row in group if row.seed is not None}
        for group in groups.values()
    }
    return [
        {
            "entry": name,
            "against": other,
            **_difference(top1[row.entry, row.fingerprint], top1.get((other, row.fingerprint), {})),
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


def _grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
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
        "top1": round(top1.value, 4),
        "top1_sd": _rounded(top1.sd),
        "top1_low": round(max(0.0, low), 4),
        "top1_high": round(min(100.0, high), 4),
        "promised_difference": None if promised is None else round(top1.value - promised, 4),
    }


def _difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Summary:
    difference = paired_difference(ours, theirs)
    if difference is None:
        return dict.fromkeys(("seeds", "difference", "difference_low", "difference_high", "verdict"))
    low, high = difference.interval or (None, None)
    return {
        "seeds": difference.n,
        "difference": round(difference.value, 4),
        "difference_low": _rounded(low),
        "difference_high": _rounded(high),
        "verdict": difference.verdict,
    }


def _average(values: list[float | None]) -> float | None:
    """None if a seed has no value; the mean of equal whole numbers is one."""
    known = [value for value in values if value is not None]
    return round(mean_of(known).value, 6) if len(known) == len(values) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


COMMON = (
    "benchmark", "suite", "entry", "dataset", "fingerprint", "epoch_rule", "protocol", "n", "promised", "source",
)  # fmt: skip
AVERAGED = (
    "top5", "parameters", "nonzeros", "teacher_nonzeros", "sparsity", "macs", "image_passes", "device_seconds",
    "confidence", "entropy", "nll", "ece", "margin", "logit_std", "train_top1", "gap", "agreement",
    "smoothing", "smoothing_share", "smoothing_t10", "smoothing_share_t10",
)  # fmt: skip
