"""A measurement says which way its ratio goes, how far it spreads, and whether the aim is reached."""

from dataclasses import replace

import pytest

from benchmarks.speed.measurement import Means, Measurement

MEASUREMENT = Measurement(
    name="loader: two", setting="little", baseline="another loader", means="times as fast", aim=2.4, unit="s",
    ours=(1.0, 2.0, 1.0), baseline_took=(3.0, 5.0, 2.0),
)  # fmt: skip


def test_times_as_fast_divides_the_baselines_time_by_ours() -> None:
    assert MEASUREMENT.ratios == [3.0, 2.5, 2.0]


@pytest.mark.parametrize("means", ["times the time", "times the memory"])
def test_times_the_time_divides_ours_by_the_baselines(means: Means) -> None:
    assert replace(MEASUREMENT, means=means).ratios == [1 / 3, 0.4, 0.5]


@pytest.mark.parametrize(
    ("means", "aim", "met"),
    [
        ("times as fast", 2.5, True),
        ("times as fast", 2.51, False),
        ("times the time", 0.4, True),
        ("times the time", 0.39, False),
    ],
)
def test_the_median_decides_and_reaching_the_aim_is_enough(means: Means, aim: float, met: bool) -> None:
    assert replace(MEASUREMENT, means=means, aim=aim).met is met


def test_a_row_tells_the_ratio_with_its_spread_and_its_direction() -> None:
    assert MEASUREMENT.row() == {
        "measurement": "loader: two",
        "setting": "little",
        "baseline": "another loader",
        "ratio_means": "times as fast (higher is better)",
        "ratio_median": "2.5",
        "ratio_lowest": "2",
        "ratio_highest": "3",
        "turns": "3",
        "ours_median": "1",
        "baseline_median": "3",
        "unit": "s",
        "aim": ">= 2.4",
        "met": "yes",
    }
    lower = replace(MEASUREMENT, means="times the time", aim=0.25).row()
    assert (lower["ratio_means"], lower["aim"], lower["met"]) == ("times the time (lower is better)", "<= 0.25", "no")


def test_turns_without_a_partner_are_a_defect() -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = replace(MEASUREMENT, ours=(1.0, 2.0)).ratios
