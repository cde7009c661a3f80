"""Attention against the formula, written out place by place in float64."""

import numpy as np
import pytest
from torch import Tensor, nn

from harness.distillation.attention_transfer import AttentionTransfer
from tests.distillation.checks import BATCH, COUNT, draw, outputs, require_slope

STUDENT, TEACHER = draw(COUNT, 3, 4, 4), draw(COUNT, 5, 2, 2, seed=1)


def attention(student: Tensor, teacher: Tensor, power: int = 2) -> Tensor:
    method = AttentionTransfer(student_layers=("0",), teacher_layers=("0",), power=power)
    return method.terms(outputs(student), outputs(teacher), BATCH, nn.Module())["attention"]


def by_numpy(maps: np.ndarray, power: int) -> np.ndarray:
    rows = np.array([[(np.abs(image[:, y, x]) ** power).sum() for y in range(2) for x in range(2)] for image in maps])
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))


def test_the_defaults_are_the_papers() -> None:
    assert (AttentionTransfer().power, AttentionTransfer().feature_weight, AttentionTransfer().ce_weight) == (
        2,
        1000,
        1,
    )


@pytest.mark.parametrize("power", [1, 2, 4])
def test_attention_equals_the_formula(power: int) -> None:
    halves = STUDENT.numpy().reshape(COUNT, 3, 2, 2, 2, 2).mean(axis=(3, 5))
    expected = 1000 * np.mean((by_numpy(halves, power) - by_numpy(TEACHER.numpy(), power)) ** 2)
    assert float(attention(STUDENT, TEACHER, power)) == pytest.approx(expected, rel=1e-9)


def test_several_layers_add_up() -> None:
    method = AttentionTransfer(student_layers=("0", "1"), teacher_layers=("0", "1"))
    both = method.terms(outputs(STUDENT, TEACHER), outputs(TEACHER, STUDENT), BATCH, nn.Module())["attention"]
    assert float(both) == pytest.approx(2 * float(attention(STUDENT, TEACHER)))


def test_the_gradient_equals_finite_differences() -> None:
    require_slope(lambda student: attention(student, TEACHER), STUDENT)


def test_a_student_that_looks_where_its_teacher_looks_has_nothing_to_learn() -> None:
    assert float(attention(-2 * STUDENT, STUDENT)) == pytest.approx(0, abs=1e-12)  # neither sign nor strength tells
