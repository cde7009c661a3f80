"""NKD against the paper's equations, written out class by class in float64."""

from math import exp, log

import pytest
import torch

from harness.distillation.nkd import NKD
from tests.distillation.checks import BATCH, COUNT, LABELS, logits, require_slope


def softmax(row: list[float], temperature: float = 1) -> list[float]:
    total = sum(exp(x / temperature) for x in row)
    return [exp(x / temperature) / total for x in row]


@pytest.mark.parametrize(("gamma", "temperature"), [(1.5, 1.0), (0.5, 2.0)])
def test_both_parts_equal_the_formula(gamma: float, temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    target = others = 0.0
    for mine, theirs, label in zip(student.tolist(), teacher.tolist(), LABELS.tolist(), strict=True):
        target -= softmax(theirs)[label] * log(softmax(mine)[label]) / COUNT
        del mine[label], theirs[label]
        normalised = zip(softmax(theirs, temperature), softmax(mine, temperature), strict=True)
        others -= gamma * temperature**2 * sum(t * log(s) for t, s in normalised) / COUNT
    terms = NKD(gamma=gamma, temperature=temperature, ce_weight=2).terms(student, teacher, BATCH)
    assert float(terms["target"]) == pytest.approx(target, rel=1e-9)
    assert float(terms["non_target"]) == pytest.approx(others, rel=1e-9)
    torch.testing.assert_close(terms["ce"], 2 * torch.nn.functional.cross_entropy(student, LABELS))


def test_the_defaults_are_the_papers() -> None:
    assert (NKD().gamma, NKD().temperature, NKD().ce_weight) == (1.5, 1, 1)


@pytest.mark.parametrize("name", ["ce", "target", "non_target"])
def test_the_gradient_equals_finite_differences(name: str) -> None:
    require_slope(lambda student: NKD().terms(student, logits(1), BATCH)[name], logits(0))


def test_the_other_classes_alone_pull_no_more_where_student_equals_teacher() -> None:
    student = logits(0).requires_grad_()
    NKD().terms(student, logits(0), BATCH)["non_target"].backward()
    assert student.grad is not None and float(student.grad.abs().max()) < 1e-12
