"""The variance of features and its parts agree with a slow reading of their definitions."""

import pytest
import torch
from torch import Tensor

from harness.compactness import Compactness
from harness.errors import StageError

LABELS = torch.randint(0, 4, (300,), generator=torch.Generator().manual_seed(0))
CENTRES = torch.randn(5, 8, generator=torch.Generator().manual_seed(1)) * 2
FEATURES = CENTRES[LABELS] + torch.randn(300, 8, generator=torch.Generator().manual_seed(2)) + 50
"""Far from the origin, as those behind a ReLU are; the last of five classes has no image."""


def compactness(features: Tensor, labels: Tensor) -> Compactness:
    found = Compactness(5, features.shape[1], "cpu")
    for start in range(0, len(labels), 64):
        found.see(features[start : start + 64], labels[start : start + 64])
    return found


def test_both_parts_are_those_of_their_definitions_and_add_up() -> None:
    features = FEATURES.double()
    groups = [features[label == LABELS] for label in range(4)]
    within = sum(float((group - group.mean(0)).square().sum()) for group in groups) / 300
    overall = features.mean(0)
    between = sum(len(group) / 300 * float((group.mean(0) - overall).square().sum()) for group in groups)
    assert within + between == pytest.approx(float((features - overall).square().sum(1).mean()), rel=1e-12)
    expected = {"within": within, "between": between, "compactness": between / (within + between)}
    assert compactness(FEATURES, LABELS).summary() == pytest.approx(expected, rel=1e-5)
    assert 0.2 < expected["compactness"] < 0.9


def test_the_sums_of_two_ranks_are_those_of_one() -> None:
    first, second = (compactness(FEATURES[rank::2], LABELS[rank::2]) for rank in (0, 1))
    first.counts += second.counts
    first.sums += second.sums
    first.squares += second.squares
    assert first.summary() == compactness(FEATURES, LABELS).summary()
    assert first.summary() != second.summary()


def test_classes_without_spread_are_perfectly_compact_and_labels_by_chance_are_not() -> None:
    assert compactness(CENTRES[LABELS], LABELS).summary()["compactness"] == pytest.approx(1.0)
    by_chance = compactness(
        CENTRES[LABELS], LABELS[torch.randperm(300, generator=torch.Generator().manual_seed(3))]
    ).summary()["compactness"]
    assert by_chance is not None
    assert 0 <= by_chance < 0.1


def test_a_network_that_says_the_same_of_all_images_has_no_compactness() -> None:
    """A collapsed one: what little differs is rounding."""
    features = torch.full((300, 8), 0.1) * (1 + 1e-7 * torch.rand(300, 1))
    assert compactness(features, LABELS).summary()["compactness"] is None
    assert compactness(torch.zeros(300, 8), LABELS).summary()["compactness"] is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    features = FEATURES.clone()
    features[7, 3] = value
    with pytest.raises(StageError, match="not finite"):
        compactness(features, LABELS).summary()
