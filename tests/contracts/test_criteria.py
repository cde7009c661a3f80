"""Every pruning criterion, found by its file, goes through the same tests."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import plugins
from harness.batch import Batch
from harness.models.vgg import VGG
from harness.objective import CrossEntropy
from harness.pruning import mask
from harness.pruning.mask import prunable
from harness.spec import encode, model_from_json


@pytest.fixture(params=plugins.names("criteria"))
def criterion(request: pytest.FixtureRequest) -> Any:
    return plugins.class_of(f"criteria.{request.param}")()


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return VGG(blocks=((4,), (6,)), classes=3).build()


def stream() -> Iterator[Batch]:
    """Training batches without an end."""
    torch.manual_seed(1)
    while True:
        yield Batch(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]), torch.arange(4))


def scored(criterion: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    network = tiny()
    return network, criterion.score(network, stream(), CrossEntropy())


def test_there_are_criteria() -> None:
    assert "magnitude" in plugins.names("criteria")


def test_every_prunable_weight_gets_a_finite_score(criterion: Any) -> None:
    network, scores = scored(criterion)
    weights = prunable(network)
    assert list(scores) == list(weights)
    for name, score in scores.items():
        assert score.shape == weights[name].shape
        assert score.isfinite().all()
        assert not score.requires_grad


def test_the_same_seed_gives_the_same_scores(criterion: Any) -> None:
    (_, first), (_, second) = scored(criterion), scored(criterion)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_scoring_leaves_the_network_as_it_was(criterion: Any) -> None:
    network, _ = scored(criterion)
    untouched = tiny().state_dict()  # holds what BatchNorm has seen, too
    assert all(torch.equal(tensor, untouched[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_each_module_is_in_its_own_mode_again(criterion: Any, training: bool) -> None:
    network = tiny().train(training)
    frozen = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d)).train(not training)
    criterion.score(network, stream(), CrossEntropy())
    assert all(module.training == (training if module is not frozen else not training) for module in network.modules())


def test_gradients_of_somebody_else_are_left_alone(criterion: Any) -> None:
    network = tiny()
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    criterion.score(network, stream(), CrossEntropy())
    assert all(p.grad is not None and bool((p.grad == 3).all()) for p in network.parameters())


def test_one_batch_is_enough(criterion: Any) -> None:
    scores = criterion.score(tiny(), itertools.islice(stream(), 1), CrossEntropy())
    assert all(score.isfinite().all() for score in scores.values())


def test_a_pruned_and_frozen_network_gets_scores_like_any_other(criterion: Any) -> None:
    found = []
    for frozen in (False, True):
        network = tiny()
        mask.apply(network, {name: torch.rand(weight.shape) > 0.5 for name, weight in prunable(network).items()})
        found.append(criterion.score(network.requires_grad_(not frozen), stream(), CrossEntropy()))
    first, second = found
    assert all(score.isfinite().all() and score.any() for score in first.values())
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_survives_json(criterion: Any) -> None:
    assert model_from_json(encode(criterion)) == criterion
