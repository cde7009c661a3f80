"""Every distillation method of either kind, found by its file, goes through the same tests."""

from dataclasses import fields, replace
from math import nan
from typing import Any

import pytest
import torch
from torch import nn

from harness import plugins
from harness.batch import Batch
from harness.contracts import FeatureDistillation, Objective
from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.objective import Distilled, FeatureDistilled, LiveTeacher, loss, total
from harness.spec import encode, model_from_json
from harness.taps import Outputs, Taps

SIDE, TRAINING_IMAGES = 16, 12
IMAGES = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
BATCH = Batch(IMAGES, torch.tensor([0, 1, 2, 0]), torch.tensor([7, 2, 9, 0]))


@pytest.fixture(params=plugins.names("distillation"))
def method(request: pytest.FixtureRequest) -> Any:
    return plugins.class_of(f"distillation.{request.param}")()


@pytest.fixture
def pair() -> tuple[nn.Module, nn.Module]:
    """Student, teacher: of other depths and widths, with the layers that feature methods tap by default."""
    torch.manual_seed(0)
    small = ResNet(depth=18, classes=3, widths=(4, 4, 6, 6), stem="cifar", stem_width=4)
    return small.build(), replace(small, depth=34, widths=(4, 6, 6, 8)).build()


def objective_of(method: Any, student: nn.Module, teacher: nn.Module) -> Objective:
    """As the stage `distill` makes it, on one rank."""
    live = LiveTeacher(teacher)
    if not isinstance(method, FeatureDistillation):
        return Distilled(method, live)
    taps = Taps(student, method.student_layers), Taps(teacher, method.teacher_layers)
    adapters = method.adapters(taps[0].shapes(SIDE), taps[1].shapes(SIDE), TRAINING_IMAGES)
    return FeatureDistilled(method, live, *taps, adapters, lambda values: values[None])


def test_there_are_methods_of_both_kinds() -> None:
    found = [plugins.class_of(f"distillation.{name}")() for name in plugins.names("distillation")]
    of_features = [isinstance(method, FeatureDistillation) for method in found]
    assert len(found) >= 10 and 0 < sum(of_features) < len(found)


def test_terms_are_finite_scalars(method: Any, pair: tuple[nn.Module, nn.Module]) -> None:
    objective = objective_of(method, *pair)
    for _ in range(2):  # what is remembered of the first step takes part in the second
        terms = objective.terms(pair[0], BATCH, objective.given(pair[0], BATCH))
        assert len(terms) >= 2
        for term in terms.values():
            assert term.shape == ()
            assert term.isfinite()
        objective.end_step()


def test_gradients_reach_the_student_and_all_that_is_learned_beside_it(
    method: Any, pair: tuple[nn.Module, nn.Module]
) -> None:
    student, teacher = pair
    objective = objective_of(method, student, teacher)
    loss(objective, student, BATCH).backward()
    learned = [] if objective.learned is None else list(objective.learned.parameters())
    for parameter in (*student.parameters(), *learned):
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_teacher_tells_in_the_students_gradient(method: Any, pair: tuple[nn.Module, nn.Module]) -> None:
    student, teacher = pair
    objective = objective_of(method, student, teacher)
    terms = objective.terms(student, BATCH, objective.given(student, BATCH))
    total({name: term for name, term in terms.items() if name != "ce"}).backward()
    first = next(student.parameters()).grad
    assert first is not None and first.abs().max() > 0


@pytest.mark.parametrize("size", [0.0, 1e4])
def test_dead_and_huge_outputs_stay_finite(method: Any, pair: tuple[nn.Module, nn.Module], size: float) -> None:
    """Logits far apart, in the wrong direction too; features of a dead layer, or of one that has run away."""
    student, teacher = (size * torch.tensor([[sign, -sign, 0.0], [0.0, 0.0, sign]]) for sign in (1, -1))
    student.requires_grad_()
    batch = Batch(IMAGES[:2], torch.tensor([1, 2]), torch.tensor([7, 2]))
    watched = [student]
    if isinstance(method, FeatureDistillation):
        shapes = Taps(pair[0], method.student_layers).shapes(SIDE), Taps(pair[1], method.teacher_layers).shapes(SIDE)
        adapters = method.adapters(*shapes, TRAINING_IMAGES)
        mine = {path: (size * torch.randn(2, *shape)).requires_grad_() for path, shape in shapes[0].items()}
        theirs = {path: torch.randn(2, *shape) for path, shape in shapes[1].items()}
        watched += [*mine.values(), *adapters.parameters()]
        terms = method.terms(Outputs(student, mine), Outputs(teacher, theirs), batch, adapters)
    else:
        terms = method.terms(student, teacher, batch)
    assert all(term.isfinite() for term in terms.values())
    total(terms).backward()
    for tensor in watched:
        assert tensor.grad is not None and tensor.grad.isfinite().all()


def test_no_number_of_it_may_be_negative(method: Any) -> None:
    numbers = [field.name for field in fields(method) if isinstance(getattr(method, field.name), (int, float))]
    assert len(numbers) >= 2
    for name in numbers:
        for value in (-1, nan):
            with pytest.raises(UserError, match=f"^{name} of {type(method).__name__} is {value}: give it .*$"):
                replace(method, **{name: value})


def test_it_survives_json(method: Any) -> None:
    assert model_from_json(encode(method)) == method
    other = replace(method, ce_weight=0.25) if hasattr(method, "ce_weight") else replace(method, kd_weight=0.25)
    assert model_from_json(encode(other)) == other != method
