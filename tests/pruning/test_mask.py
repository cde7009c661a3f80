"""A user masks a network and trains it: what was removed stays exactly 0."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from harness.models.resnet import ResNet
from harness.models.vgg import VGG
from harness.pruning import mask


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return VGG(blocks=((6,), (8,)), classes=3).build()


@pytest.fixture
def masks(network: nn.Module) -> mask.Masks:
    return {name: torch.rand(weight.shape) > 0.6 for name, weight in mask.prunable(network).items()}


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def train(network: nn.Module, steps: int = 3) -> None:
    weights = network.parameters()
    sgd = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    for _ in range(steps):
        sgd.zero_grad()
        network(torch.randn(4, 3, 8, 8)).square().mean().backward()
        sgd.step()


def test_first_convolution_and_classifier_are_prunable_and_batchnorm_and_biases_are_not(network: nn.Module) -> None:
    assert list(mask.prunable(network)) == ["features.0.weight", "features.4.weight", "classifier.weight"]


def test_projections_are_prunable_although_nothing_in_their_name_says_convolution() -> None:
    network = ResNet(depth=50, classes=3, widths=(4, 4, 4, 4), stem_width=4).build()
    assert sum("downsample.0" in name for name in mask.prunable(network)) == 4
    assert len(mask.prunable(network)) == 1 + 3 * 16 + 4 + 1


def test_masks_are_read_back_from_the_zeros(network: nn.Module, masks: mask.Masks) -> None:
    mask.apply(network, masks)
    back = mask.masks_of(network)
    assert back.keys() == masks.keys()
    assert all(torch.equal(back[name], masks[name]) for name in masks)
    removed = sum(int((~m).sum()) for m in masks.values())
    assert mask.zeros(network) == removed


def test_a_removed_weight_is_plus_zero_even_if_it_was_not_finite(network: nn.Module) -> None:
    weight = mask.prunable(network)["classifier.weight"]
    with torch.no_grad():
        weight[0, 0], weight[0, 1] = float("nan"), -1.0
    keep = torch.ones_like(weight, dtype=torch.bool)
    keep[0, :2] = False
    mask.apply(network, {"classifier.weight": keep})
    assert weight[0, :2].tolist() == [0.0, 0.0]
    assert not torch.signbit(weight[0, 1])


def test_removed_weights_stay_zero_through_training_and_the_others_learn(network: nn.Module, masks: mask.Masks) -> None:
    mask.apply(network, masks)
    mask.hold(network, masks)
    before = {name: weight.detach().clone() for name, weight in mask.prunable(network).items()}
    train(network)
    for name, weight in mask.prunable(network).items():
        assert torch.equal(weight != 0, masks[name])
        assert (weight != before[name])[masks[name]].all()


def test_a_gradient_that_is_not_finite_does_not_reach_a_removed_weight(network: nn.Module, masks: mask.Masks) -> None:
    mask.hold(network, masks)
    weight = mask.prunable(network)["classifier.weight"]
    (weight * float("inf")).sum().backward()
    assert weight.grad is not None
    assert (weight.grad[~masks["classifier.weight"]] == 0).all()
    assert weight.grad[masks["classifier.weight"]].isinf().all()


def test_a_network_that_is_converted_after_hold_is_still_held(network: nn.Module, masks: mask.Masks) -> None:
    mask.apply(network, masks)
    mask.hold(network, masks)
    network.to(torch.float64, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network(torch.randn(4, 3, 8, 8, dtype=torch.float64)).square().mean().backward()
    for name, weight in mask.prunable(network).items():
        assert weight.grad is not None and weight.grad.count_nonzero() > 0
        assert (weight.grad[~masks[name]] == 0).all()


@pytest.mark.usefixtures("group")
def test_hold_works_under_a_later_ddp_wrap(network: nn.Module, masks: mask.Masks) -> None:
    mask.apply(network, masks)
    mask.hold(network, masks)
    train(DistributedDataParallel(network))
    assert all(torch.equal(kept, masks[name]) for name, kept in mask.masks_of(network).items())
