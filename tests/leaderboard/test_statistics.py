"""Means over seeds and paired differences, against scipy's own tests and against tables of Student's t."""

import pytest
from scipy.stats import sem, ttest_1samp, ttest_rel

from harness.leaderboard.statistics import Mean, mean_of, paired_difference

OURS = {0: 76.61, 1: 76.40, 2: 76.72, 3: 76.55}
THEIRS = {0: 76.17, 1: 76.28, 2: 76.21, 3: 76.02}


def test_three_seeds_worked_by_hand() -> None:
    """t at 97.5 % with two degrees of freedom is 4.302653 in any table; sd 1, so half a width is that over root 3."""
    found = mean_of([1.0, 2.0, 3.0])
    assert (found.value, found.n, found.sd) == (2.0, 3, 1.0)
    assert found.interval == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-6)


def test_the_interval_of_a_mean_is_that_of_scipys_t_test() -> None:
    values = list(OURS.values())
    found, expected = mean_of(values), ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.sd == pytest.approx(sem(values) * 2)


def test_one_seed_knows_no_spread() -> None:
    assert mean_of([91.5]) == Mean(91.5, 1)
    assert mean_of([91.5]).verdict("higher") is None


def test_a_paired_difference_is_that_of_scipys_paired_t_test() -> None:
    found = paired_difference(OURS, THEIRS, resolution=0.0)
    expected = ttest_rel(list(OURS.values()), list(THEIRS.values())).confidence_interval(0.95)
    assert found is not None
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.verdict("higher") == "shown"


def test_seeds_are_paired_by_name_and_only_where_both_have_them() -> None:
    found = paired_difference({2: 5.0, 0: 1.0, 7: 100.0}, {0: 0.5, 2: 3.5, 1: -100.0}, resolution=0.0)
    assert found is not None
    assert (found.n, found.value) == (2, 1.0)
    assert paired_difference({0: 1.0}, {1: 1.0}, resolution=0.0) is None
    assert paired_difference({0: 1.0}, {}, resolution=0.0) is None


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ([3.0, 4.0, 3.5], "shown"),
        ([-3.0, -4.0, -3.5], "reversed"),
        ([3.0, -2.0, 2.5], "not shown"),
        ([0.1, 0.1, 0.1], "not shown"),
        ([-0.1, -0.1, -0.1], "not shown"),
        ([0.0, 0.0, 0.0], "not shown"),
        ([3.0], None),
    ],
)
def test_a_verdict_asks_whether_the_interval_holds_zero(ours: list[float], verdict: str | None) -> None:
    found = paired_difference(dict(enumerate(ours)), dict.fromkeys(range(3), 0.0), resolution=0.0)
    assert found is not None
    assert found.verdict("higher") == verdict
    assert mean_of([-value for value in ours]).verdict("lower") == verdict


def test_seeds_that_all_agree_show_no_spread_and_so_no_interval() -> None:
    assert mean_of([2.5, 2.5, 2.5]) == Mean(2.5, 3, 0.0)


def test_a_spread_as_small_as_the_rounding_is_none() -> None:
    found = mean_of([0.2778, 0.2777], resolution=1e-4)
    assert (found.sd, found.interval, found.verdict("higher")) == (0.0, None, "not shown")
    assert mean_of([0.2778, 0.2777], resolution=1e-5).verdict("higher") == "shown"
