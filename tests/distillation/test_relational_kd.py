"""Relations against the paper's potentials, written out image by image in float64."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from harness.distillation.relational_kd import RelationalKD
from harness.errors import StageError
from harness.objective import total
from tests.distillation.checks import BATCH, COUNT, draw, outputs, require_slope

METHOD = RelationalKD(student_layers=("0",), teacher_layers=("0",))
STUDENT, TEACHER = draw(COUNT, 4, 1, 1), draw(COUNT, 7, seed=1)


def terms(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    return METHOD.terms(outputs(student), outputs(teacher), BATCH, nn.Module())


def huber(difference: float) -> float:
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 1 / 2


def distances(rows: list[list[float]]) -> dict[tuple[int, int], float]:
    """Of all ordered pairs, in units of the mean over pairs of different images."""
    found = {
        (i, j): sqrt(sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True)))
        for i in range(len(rows))
        for j in range(len(rows))
    }
    mean = sum(found.values()) / (len(rows) * (len(rows) - 1))
    return {pair: distance / mean for pair, distance in found.items()}


def cosine(rows: list[list[float]], i: int, j: int, k: int) -> float:
    """Of the angle at image i; none between an image and itself."""
    a, b = ([x - y for x, y in zip(rows[other], rows[i], strict=True)] for other in (j, k))
    lengths = sqrt(sum(x * x for x in a)) * sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def test_the_defaults_are_those_for_classification() -> None:
    assert (RelationalKD().distance_weight, RelationalKD().angle_weight, RelationalKD().ce_weight) == (25, 50, 1)


def test_distances_and_angles_equal_the_formula() -> None:
    mine, theirs = STUDENT.flatten(1).tolist(), TEACHER.tolist()
    here, there = distances(mine), distances(theirs)
    distance = sum(huber(here[pair] - there[pair]) for pair in here) / COUNT**2
    triples = [(i, j, k) for i in range(COUNT) for j in range(COUNT) for k in range(COUNT)]
    angle = sum(huber(cosine(mine, *triple) - cosine(theirs, *triple)) for triple in triples) / COUNT**3
    found = terms(STUDENT, TEACHER)
    assert float(found["distance"]) == pytest.approx(25 * distance, rel=1e-9)
    assert float(found["angle"]) == pytest.approx(50 * angle, rel=1e-9)


@pytest.mark.parametrize("name", ["distance", "angle"])
def test_the_gradient_equals_finite_differences(name: str) -> None:
    require_slope(lambda student: terms(student, TEACHER)[name], STUDENT)


def test_a_moved_turned_and_scaled_teacher_has_the_same_relations() -> None:
    turn = torch.linalg.qr(draw(7, 7))[0]
    found = terms(5 * TEACHER @ turn + 3, TEACHER)
    assert float(found["distance"]) == pytest.approx(0, abs=1e-12)
    assert float(found["angle"]) == pytest.approx(0, abs=1e-12)


def test_an_image_alone_has_no_relations() -> None:
    alone = replace(BATCH, labels=BATCH.labels[:1])
    with pytest.raises(StageError, match="compares the images of a batch and got one: give batch_per_gpu 2 or more"):
        METHOD.terms(outputs(STUDENT[:1]), outputs(TEACHER[:1]), alone, nn.Module())


def test_images_that_nothing_tells_apart_leave_the_gradient_finite() -> None:
    student = torch.zeros(COUNT, 4, requires_grad=True)
    total(terms(student, TEACHER.float())).backward()
    assert student.grad is not None and student.grad.isfinite().all()
