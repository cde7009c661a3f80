"""Every distillation method, found by its file, goes through the same tests."""

from typing import Any

import pytest
import torch
from torch import nn

from harness import plugins
from harness.batch import Batch
from harness.models.vgg import VGG
from harness.objective import Distilled, LiveTeacher
from harness.spec import encode, model_from_json

IMAGES, LABELS = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
BATCH = Batch(IMAGES, LABELS, torch.arange(len(LABELS)))


@pytest.fixture(params=plugins.names("distillation"))
def method(request: pytest.FixtureRequest) -> Any:
    return plugins.class_of(f"distillation.{request.param}")()


@pytest.fixture
def pair() -> tuple[nn.Module, nn.Module]:
    """Student, teacher."""
    torch.manual_seed(0)
    return VGG(blocks=((4,),), classes=3).build(), VGG(blocks=((8,), (8,)), classes=3).build()


def test_there_are_methods() -> None:
    assert "kd" in plugins.names("distillation")


def test_terms_are_finite_scalars(method: Any, pair: tuple[nn.Module, nn.Module]) -> None:
    student, teacher = pair
    terms = Distilled(method, LiveTeacher(teacher))(student(IMAGES), BATCH)
    assert terms
    for term in terms.values():
        assert term.shape == ()
        assert term.isfinite()


def test_gradients_reach_the_student_only(method: Any, pair: tuple[nn.Module, nn.Module]) -> None:
    student, teacher = pair
    terms = Distilled(method, LiveTeacher(teacher))(student(IMAGES), BATCH)
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in student.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_logits_far_apart_stay_finite(method: Any) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    terms = method.terms(student, torch.tensor([[-1e4, 1e4, 0.0]]), torch.tensor([1]))
    torch.stack(list(terms.values())).sum().backward()
    assert all(term.isfinite() for term in terms.values())
    assert student.grad is not None and student.grad.isfinite().all()


def test_it_survives_json(method: Any) -> None:
    assert model_from_json(encode(method)) == method
