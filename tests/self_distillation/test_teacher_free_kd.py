"""The virtual teacher against the official code's formula, class by class in float64."""

from math import log

import pytest

from harness.self_distillation.teacher_free_kd import TeacherFreeKD
from tests.distillation.checks import BATCH, CLASSES, LABELS, logits, require_slope
from tests.self_distillation.checks import cross_entropy, one_hot, softmax, terms


def by_hand(probability: float, temperature: float) -> float:
    """KL from the softened virtual teacher to the network's own prediction, mean over images."""
    rows = []
    for label, said in zip(LABELS.tolist(), logits().tolist(), strict=True):
        virtual = [probability if k == label else (1 - probability) / (CLASSES - 1) for k in range(CLASSES)]
        pairs = zip(softmax(virtual, temperature), softmax(said), strict=True)
        rows.append(sum(u * log(u / p) for u, p in pairs))
    return sum(rows) / len(rows)


@pytest.mark.parametrize(("probability", "temperature", "weight"), [(0.99, 20.0, 0.1), (0.9, 0.5, 0.95)])
def test_both_terms_equal_the_formula(probability: float, temperature: float, weight: float) -> None:
    method = TeacherFreeKD(probability=probability, temperature=temperature, weight=weight)
    found = terms(method, logits(), BATCH)
    assert list(found) == ["ce", "virtual"]
    assert found["ce"].item() == pytest.approx((1 - weight) * cross_entropy(logits(), one_hot()), rel=1e-9)
    assert found["virtual"].item() == pytest.approx(weight * by_hand(probability, temperature), rel=1e-9)


def test_the_gradient_equals_finite_differences() -> None:
    require_slope(lambda said: terms(TeacherFreeKD(), said, BATCH)["virtual"], logits())


def test_the_defaults_are_the_official_codes_for_resnet_18() -> None:
    method = TeacherFreeKD()
    assert (method.probability, method.temperature, method.weight) == (0.99, 20, 0.1)
