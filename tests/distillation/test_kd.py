"""The KD loss against a formula written independently, in float64."""

import numpy as np
import pytest

from harness.distillation.kd import KD
from tests.distillation.checks import BATCH, LABELS, logits, require_slope


def by_numpy(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, t: float, w: float) -> dict[str, float]:
    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    ce = [-np.log(softmax(student)[row, label]) for row, label in enumerate(labels)]
    p, q = softmax(teacher / t), softmax(student / t)
    kl = [sum(p[row, c] * (np.log(p[row, c]) - np.log(q[row, c])) for c in range(p.shape[1])) for row in range(len(p))]
    return {"ce": (1 - w) * float(np.mean(ce)), "kd": w * t * t * float(np.mean(kl))}


def test_the_defaults_are_the_papers() -> None:
    assert (KD().temperature, KD().kd_weight) == (10.0, 0.95)


@pytest.mark.parametrize(("temperature", "kd_weight"), [(10.0, 0.95), (1.0, 0.5), (4.0, 0.9)])
def test_both_terms_equal_the_formula(temperature: float, kd_weight: float) -> None:
    terms = KD(temperature=temperature, kd_weight=kd_weight).terms(logits(0), logits(1), BATCH)
    expected = by_numpy(logits(0).numpy(), logits(1).numpy(), LABELS.numpy(), temperature, kd_weight)
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["ce", "kd"])
def test_the_gradient_equals_finite_differences(name: str) -> None:
    require_slope(lambda student: KD().terms(student, logits(1), BATCH)[name], logits(0))


def test_a_student_that_equals_its_teacher_has_nothing_to_distil() -> None:
    student = logits(0).requires_grad_()
    term = KD().terms(student, logits(0) + 7.0, BATCH)["kd"]  # the softmax ignores a constant
    assert term.item() == pytest.approx(0, abs=1e-12)
    term.backward()
    assert student.grad is not None and float(student.grad.abs().max()) < 1e-12
