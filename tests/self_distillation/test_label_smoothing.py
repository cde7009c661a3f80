"""Label smoothing against its formula, class by class in float64."""

import pytest
import torch
from torch.nn import functional as F

from harness.self_distillation.label_smoothing import LabelSmoothing
from tests.distillation.checks import BATCH, CLASSES, LABELS, logits, require_slope
from tests.self_distillation.checks import cross_entropy, one_hot, terms


@pytest.mark.parametrize("smoothing", [0.1, 0.7, 1.0])
def test_the_loss_equals_the_formula(smoothing: float) -> None:
    targets = [[(1 - smoothing) * share + smoothing / CLASSES for share in row] for row in one_hot()]
    found = terms(LabelSmoothing(smoothing=smoothing), logits(), BATCH)
    assert list(found) == ["ce"]
    assert found["ce"].item() == pytest.approx(cross_entropy(logits(), targets), rel=1e-9)


def test_without_smoothing_it_is_cross_entropy() -> None:
    found = terms(LabelSmoothing(smoothing=0), logits(), BATCH)
    assert torch.equal(found["ce"], F.cross_entropy(logits(), LABELS))


def test_the_gradient_equals_finite_differences() -> None:
    require_slope(lambda said: terms(LabelSmoothing(), said, BATCH)["ce"], logits())


def test_the_default_is_the_papers() -> None:
    assert LabelSmoothing().smoothing == 0.1
