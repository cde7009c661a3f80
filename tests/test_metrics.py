"""Accuracy is counted in whole images."""

import pytest
import torch

from harness.metrics import correct, wilson

LOGITS = torch.tensor([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0], [1.0, 9.0, 3.0, 4.0]])
LABELS = torch.tensor([0, 1, 0, 1])


def test_a_label_counts_when_it_is_among_the_k_best_of_however_many_classes() -> None:
    counts = correct(LOGITS, LABELS, (1, 2, 3, 4, 5, 1000))
    assert counts.tolist() == [2, 3, 3, 4, 4, 4]
    assert counts.dtype == torch.int64
    assert correct(LOGITS, LABELS, (1,)).tolist() == [2]


def test_the_interval_solves_wilsons_equation() -> None:
    for hits, n in ((7, 10), (38_065, 50_000), (1, 3)):
        for bound in wilson(hits, n):
            p = bound / 100
            assert (hits / n - p) ** 2 == pytest.approx(1.959963984540054**2 * p * (1 - p) / n, rel=1e-9)


def test_the_interval_of_imagenets_validation_set_is_under_a_point_wide() -> None:
    low, high = wilson(38_065, 50_000)
    assert low < 76.13 < high
    assert 0.7 < high - low < 0.8


def test_no_hits_and_all_hits_stay_within_bounds() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 27.75), abs=0.01)
    assert wilson(10, 10) == pytest.approx((72.25, 100.0), abs=0.01)
    assert wilson(0, 10)[0] >= 0.0 and wilson(10, 10)[1] <= 100.0


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_an_impossible_count_is_a_defect(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="not an accuracy"):
        wilson(hits, n)
