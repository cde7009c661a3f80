"""Every self-distillation method, found by its file, goes through the same tests."""

from dataclasses import fields, replace
from math import nan
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import plugins
from harness.batch import Batch
from harness.course import Course
from harness.data.augment import Augment
from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.objective import SelfDistilled, loss, total
from harness.recipe import Recipe
from harness.spec import encode, model_from_json

SIDE, COUNT, CLASSES = 16, 4, 3
RECIPE = Recipe(epochs=2, augment=Augment(crop="none", size=SIDE), global_batch=COUNT, batch_per_gpu=COUNT)


@pytest.fixture(params=plugins.names("self_distillation"))
def method(request: pytest.FixtureRequest) -> Any:
    return plugins.class_of(f"self_distillation.{request.param}")()


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return ResNet(depth=18, classes=CLASSES, widths=(8, 8, 12, 12), stem="cifar", stem_width=8).build()


@pytest.fixture
def objective(method: Any, network: nn.Module) -> SelfDistilled:
    return SelfDistilled(method, network, Course(RECIPE, 12, CLASSES))


def batch(method: Any, epoch: int = 0) -> Batch:
    """The only one of an epoch, with the second images that the method needs."""
    images = torch.randn(2, COUNT, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(epoch))
    labels, indices = torch.tensor([0, 1, 2, 0]), torch.tensor([7, 2, 9, 0])
    paired = method.mates == "class" or (method.mates == "previous" and epoch > 0)
    return Batch(images[0], labels, indices, epoch, mates=Batch(images[1], labels, indices) if paired else None)


def trained(objective: SelfDistilled, network: nn.Module) -> SelfDistilled:
    """After one step, so that there is something to remember."""
    loss(objective, network, batch(objective.method))
    objective.end_step()
    return objective


def test_there_are_methods() -> None:
    assert {"cs_kd", "ps_kd", "dlb", "teacher_free_kd", "label_smoothing", "be_your_own_teacher"} <= set(
        plugins.names("self_distillation")
    )


def test_terms_are_finite_scalars(objective: SelfDistilled, network: nn.Module) -> None:
    for epoch in range(2):  # what is remembered of the first step takes part in the second
        now = batch(objective.method, epoch)
        terms = objective.terms(network, now, objective.given(network, now))
        assert "ce" in terms
        for term in terms.values():
            assert term.shape == ()
            assert term.isfinite()
        objective.end_step()


@pytest.mark.parametrize("epoch", [0, 1])
def test_gradients_reach_the_network_and_all_that_is_learned_beside_it(
    objective: SelfDistilled, network: nn.Module, epoch: int
) -> None:
    loss(trained(objective, network) if epoch else objective, network, batch(objective.method, epoch)).backward()
    learned = [] if objective.learned is None else list(objective.learned.parameters())
    for parameter in (*network.parameters(), *learned):
        assert parameter.grad is not None and parameter.grad.isfinite().all()


def test_what_is_given_is_constant_and_gives_the_same_loss_again(objective: SelfDistilled, network: nn.Module) -> None:
    """Scores go through a step twice."""
    now = batch(objective.method, 1)
    given = trained(objective, network).given(network, now)
    assert given is None or (isinstance(given, Tensor) and not given.requires_grad)
    first = total(objective.terms(network, now, given))
    objective.end_step()
    assert torch.equal(first, total(objective.terms(network, now, given)))


def test_no_number_of_it_may_be_negative(method: Any) -> None:
    numbers = [field.name for field in fields(method) if isinstance(getattr(method, field.name), (int, float))]
    assert len(numbers) >= 1
    for name in numbers:
        for value in (-1, nan):
            with pytest.raises(UserError, match=f"^{name} of {type(method).__name__} is {value}: give it .*$"):
                replace(method, **{name: value})


def test_it_survives_json(method: Any) -> None:
    name = next(field.name for field in fields(method) if isinstance(getattr(method, field.name), float))
    for made in (method, replace(method, **{name: 0.25})):
        assert model_from_json(encode(made)) == made
    assert replace(method, **{name: 0.25}) != method
