"""DIST against Pearson's correlation as numpy computes it."""

import numpy as np
import pytest

from harness.distillation.dist import DIST
from tests.distillation.checks import BATCH, logits, require_slope


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, with the official code's constant beside the product of both lengths."""
    lengths = len(one) * one.std() * other.std()
    return float(np.corrcoef(one, other)[0, 1] * lengths / (lengths + 1e-8))


def test_the_defaults_are_those_for_imagenet() -> None:
    assert (DIST().beta, DIST().gamma, DIST().temperature, DIST().ce_weight) == (1, 1, 1, 1)


@pytest.mark.parametrize(("beta", "gamma", "temperature"), [(1.0, 1.0, 1.0), (2.0, 3.0, 4.0)])
def test_both_relations_equal_the_formula(beta: float, gamma: float, temperature: float) -> None:
    def probabilities(seed: int) -> np.ndarray:
        raised = np.exp(logits(seed).numpy() / temperature)
        return raised / raised.sum(axis=1, keepdims=True)

    student, teacher = probabilities(0), probabilities(1)
    rows = [correlation(student[i], teacher[i]) for i in range(len(student))]
    columns = [correlation(student[:, c], teacher[:, c]) for c in range(student.shape[1])]
    terms = DIST(beta=beta, gamma=gamma, temperature=temperature).terms(logits(0), logits(1), BATCH)
    assert float(terms["inter"]) == pytest.approx(beta * temperature**2 * (1 - np.mean(rows)), rel=1e-9)
    assert float(terms["intra"]) == pytest.approx(gamma * temperature**2 * (1 - np.mean(columns)), rel=1e-9)


@pytest.mark.parametrize("name", ["ce", "inter", "intra"])
def test_the_gradient_equals_finite_differences(name: str) -> None:
    require_slope(lambda student: DIST().terms(student, logits(1), BATCH)[name], logits(0))


def test_a_student_that_equals_its_teacher_has_nothing_to_distil() -> None:
    unsure = logits(0) / 5
    terms = DIST().terms(unsure + 7, unsure, BATCH)
    assert float(terms["inter"]) == pytest.approx(0, abs=1e-6)
    assert float(terms["intra"]) == pytest.approx(0, abs=1e-6)


def test_a_class_that_no_image_may_be_has_no_relation() -> None:
    sure = logits(0)
    sure[:, 4] = -30
    assert float(DIST().terms(sure, sure, BATCH)["intra"]) == pytest.approx(1 / 5, abs=1e-3)
