"""One line for each entry: what its seeds say together, beside another entry, and at what cost."""

import dataclasses
import random

import pytest

from harness.leaderboard.summary import compare, summarise, total_cost
from harness.row import Row
from tests.leaderboard.toy import IMAGES, ROW, over_seeds, with_values

DENSE = over_seeds("dense", 0, [90.0, 91.0, 92.0], promised=90.5, source="a paper")
PRUNED = over_seeds("pruned", 1, [92.0, 92.5, 94.0], against=["dense"], teacher_nonzeros=77)


def test_seeds_become_a_mean_with_students_interval() -> None:
    (line,) = summarise(DENSE)
    assert (line["seeds"], line["top1"], line["top1_sd"], line["n"]) == (3, 91.0, 1.0, 1000)
    assert (line["top1_low"], line["top1_high"]) == (88.515862, 93.484138)
    assert (line["promised"], line["promised_difference"], line["source"]) == (90.5, 0.5, "a paper")


def test_one_seed_keeps_the_interval_over_images() -> None:
    (line,) = summarise([ROW])
    assert (line["seeds"], line["top1"], line["top1_sd"]) == (1, 91.5, None)
    assert (line["top1_low"], line["top1_high"]) == (89.25, 93.5)


def test_seeds_that_all_agree_keep_it_too() -> None:
    (line,) = summarise(over_seeds("a", 0, [91.5, 91.5]))
    assert (line["seeds"], line["top1_sd"]) == (2, 0.0)
    assert (line["top1_low"], line["top1_high"]) == (89.25, 93.5)


def test_whatever_was_measured_tells_how_sure_it_is() -> None:
    (line,) = summarise(with_values(DENSE, nll=[0.3, 0.4, 0.5], train_nll=[0.1, 0.1, 0.1]))
    assert (line["nll"], line["nll_sd"]) == (0.4, 0.1)
    assert (line["nll_low"], line["nll_high"]) == (0.151586, 0.648414)
    assert (line["train_nll"], line["train_nll_sd"], line["train_nll_low"]) == (0.1, 0.0, None)
    (line,) = summarise(with_values(DENSE, compactness=[0.3, 0.4, 0.5], gradient_flow=[1.0, 1.5, 2.0]))
    assert (line["compactness"], line["compactness_sd"]) == (0.4, 0.1)
    assert (line["gradient_flow"], line["gradient_flow_sd"]) == (1.5, 0.5)
    assert (line["agreement"], line["agreement_sd"], line["agreement_low"]) == (None, None, None)
    assert not {"parameters_sd", "macs_low", "device_seconds_sd"} & set(line)


def test_no_accuracy_lies_above_a_hundred_or_below_nothing() -> None:
    near_all, near_none = summarise(over_seeds("a", 0, [100.0, 99.0]) + over_seeds("b", 1, [0.0, 1.0]))
    assert near_all["top1_high"] == 100.0
    assert near_none["top1_low"] == 0.0


def test_an_entry_is_compared_with_the_one_it_names_seed_by_seed() -> None:
    (line,) = compare(DENSE + PRUNED)
    assert (line["entry"], line["against"], line["seeds"]) == ("pruned", "dense", 3)
    assert (line["difference"], line["difference_low"], line["difference_high"]) == (1.833333, 1.116225, 2.550442)
    assert (line["difference_sd"], line["verdict"]) == (0.288675, "shown")
    assert (line["gap_difference"], line["gap_difference_low"], line["gap_verdict"]) == (None, None, None)


@pytest.mark.parametrize(
    ("gap", "difference", "verdict"),
    [([3.0, 2.5, 2.75], -3.0, "shown"), ([9.0, 8.5, 8.75], 3.0, "reversed"), ([9.0, 2.5, 5.75], 0.0, "not shown")],
)
def test_a_smaller_gap_is_the_better_one(gap: list[float], difference: float, verdict: str) -> None:
    """Beside gaps of 6, 5.5 and 5.75."""
    dense = with_values(DENSE, gap=[6.0, 5.75, 5.5])
    (line,) = compare([*dense, *with_values(PRUNED, gap=gap)])
    assert (line["gap_difference"], line["gap_verdict"], line["verdict"]) == (difference, verdict, "shown")
    (one,) = compare([dense[0], *with_values(PRUNED, gap=gap)])
    assert (one["gap_difference"], one["gap_difference_low"], one["gap_verdict"]) == (gap[0] - 6.0, None, None)


def test_a_gap_that_one_seed_does_not_know_is_not_compared() -> None:
    pruned = with_values(PRUNED, gap=[3.0, None, 2.75])
    (line,) = compare([*with_values(DENSE, gap=[6.0, 5.75, 5.5]), *pruned])
    assert (line["difference"], line["gap_difference"], line["gap_verdict"]) == (1.833333, None, None)


def test_seeds_that_differ_by_the_same_images_show_nothing() -> None:
    """One image of 360, which rows round to 0.2778 and to 0.2777 percent points."""
    less = with_values(over_seeds("less", 0, [99.4444, 99.1667]), gap=[0.5556, 0.8333])
    more = with_values(over_seeds("more", 1, [99.7222, 99.4444], against=["less"]), gap=[0.2778, 0.5556])
    (line,) = compare([*less, *more])
    assert (line["seeds"], line["difference"]) == (2, 0.27775)
    assert (line["difference_sd"], line["difference_low"], line["difference_high"]) == (0.0, None, None)
    assert (line["verdict"], line["gap_verdict"]) == ("not shown", "not shown")


def test_a_claim_over_several_entries_has_a_verdict_on_each() -> None:
    better = over_seeds("better", 2, [99.0, 99.5, 99.2], against=["dense", "pruned"])
    found = [(line["entry"], line["against"], line["verdict"]) for line in compare([*DENSE, *PRUNED, *better])]
    assert found == [("pruned", "dense", "shown"), ("better", "dense", "shown"), ("better", "pruned", "shown")]


def test_with_one_seed_in_common_there_is_a_difference_and_no_verdict() -> None:
    (one,) = compare([*DENSE[:1], *PRUNED])
    assert (one["seeds"], one["difference"], one["difference_low"], one["verdict"]) == (1, 2.0, None, None)
    (none,) = compare([*DENSE[:1], *PRUNED[1:]])
    assert (none["against"], none["seeds"], none["difference"]) == ("dense", None, None)


def test_networks_without_a_seed_are_not_paired() -> None:
    rows = [dataclasses.replace(row, seed=None) for row in (*DENSE[:1], *PRUNED[:1])]
    assert [line["difference"] for line in compare(rows)] == [None]


def test_rows_of_other_images_share_no_line_and_no_comparison() -> None:
    other = IMAGES.replace("feedbeef", "c0ffee00")
    elsewhere = [dataclasses.replace(row, fingerprint=other, key=f"{row.key}'") for row in PRUNED[1:]]
    rows = [*DENSE, PRUNED[0], *elsewhere]
    assert [(line["entry"], line["seeds"]) for line in summarise(rows)] == [
        ("dense", 3), ("pruned (c0ffee00)", 2), ("pruned (feedbeef)", 1),
    ]  # fmt: skip
    assert [(line["entry"], line["difference"]) for line in compare(rows)] == [
        ("pruned (c0ffee00)", None), ("pruned (feedbeef)", 2.0),
    ]  # fmt: skip


def test_counts_that_all_seeds_share_stay_whole() -> None:
    (line,) = summarise(PRUNED)
    assert repr(line["parameters"]) == "12345"
    assert repr(line["teacher_nonzeros"]) == "77"
    (line,) = summarise([ROW, dataclasses.replace(ROW, seed=1, key="x", parameters=12348, gap=1.0)])
    assert line["parameters"] == 12346.5
    assert line["gap"] is None, "a mean over the seeds that happen to have a value would be another quantity"


def test_the_order_of_the_files_means_nothing() -> None:
    rows = DENSE + PRUNED
    shuffled = random.Random(0).sample(rows, len(rows))
    assert (summarise(shuffled), compare(shuffled)) == (summarise(rows), compare(rows))


def test_a_row_from_before_an_entry_was_inserted_stays_on_its_line() -> None:
    moved = [dataclasses.replace(PRUNED[2], position=5)]
    last = over_seeds("last", 3, [50.0])
    assert [line["seeds"] for line in summarise([*PRUNED[:2], *moved, *last])] == [3, 1]


@pytest.fixture
def student() -> Row:
    """From the same teacher as `ROW`."""
    stages = {"student": ["distill", 1000, 20.5], **ROW.stages}
    return dataclasses.replace(ROW, entry="student", key="s", image_passes=5000, device_seconds=100.5, stages=stages)


def test_a_teacher_is_paid_for_once_however_many_students_it_has(student: Row) -> None:
    assert total_cost([ROW, student]) == {
        "image_passes": 5000,
        "device_seconds": 100.5,
        "image_passes_alone": 9000,
        "device_seconds_alone": 180.5,
    }
