"""The KD loss against a formula written independently, in float64."""

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.distillation.kd import KD


def by_numpy(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, t: float, w: float) -> dict[str, float]:
    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    ce = [-np.log(softmax(student)[row, label]) for row, label in enumerate(labels)]
    p, q = softmax(teacher / t), softmax(student / t)
    kl = [sum(p[row, c] * (np.log(p[row, c]) - np.log(q[row, c])) for c in range(p.shape[1])) for row in range(len(p))]
    return {"ce": (1 - w) * float(np.mean(ce)), "kd": w * t * t * float(np.mean(kl))}


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(6, 5, generator=generator, dtype=torch.float64) * 3
    teacher = torch.randn(6, 5, generator=generator, dtype=torch.float64) * 3
    return student, teacher, torch.tensor([0, 1, 2, 3, 4, 0])


def test_the_defaults_are_the_papers() -> None:
    assert (KD().temperature, KD().kd_weight) == (10.0, 0.95)


@pytest.mark.parametrize(("temperature", "kd_weight"), [(10.0, 0.95), (1.0, 0.5), (4.0, 0.9)])
def test_both_terms_equal_the_formula(
    batch: tuple[Tensor, Tensor, Tensor], temperature: float, kd_weight: float
) -> None:
    terms = KD(temperature=temperature, kd_weight=kd_weight).terms(*batch)
    student, teacher, labels = (tensor.numpy() for tensor in batch)
    expected = by_numpy(student, teacher, labels, temperature, kd_weight)
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected, rel=1e-12)


def test_the_gradient_equals_finite_differences(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = batch
    method = KD()
    student.requires_grad_()
    for name in ("ce", "kd"):
        assert torch.autograd.gradcheck(lambda s, name=name: method.terms(s, teacher, labels)[name], student)


def test_a_student_that_equals_its_teacher_has_nothing_to_distil(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, _, labels = batch
    student.requires_grad_()
    term = KD().terms(student, student.detach() + 7.0, labels)["kd"]  # the softmax ignores a constant
    assert term.item() == pytest.approx(0, abs=1e-12)
    term.backward()
    assert student.grad is not None and float(student.grad.abs().max()) < 1e-12
