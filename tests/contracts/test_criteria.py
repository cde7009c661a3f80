"""Every pruning criterion, found by its file, goes through the same tests."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import plugins
from harness.batch import Batch
from harness.models.vgg import VGG
from harness.objective import CrossEntropy
from harness.pruning.mask import prunable
from harness.spec import encode, model_from_json


@pytest.fixture(params=plugins.names("criteria"))
def criterion(request: pytest.FixtureRequest) -> Any:
    return plugins.class_of(f"criteria.{request.param}")()


def scored(criterion: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    network = VGG(blocks=((4,), (6,)), classes=3).build()
    batches = [Batch(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]), torch.arange(4)) for _ in range(2)]
    return network, criterion.score(network, batches, CrossEntropy())


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
    torch.manual_seed(0)
    untouched = VGG(blocks=((4,), (6,)), classes=3).build().state_dict()
    network, _ = scored(criterion)
    assert all(torch.equal(tensor, untouched[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_it_survives_json(criterion: Any) -> None:
    assert model_from_json(encode(criterion)) == criterion
