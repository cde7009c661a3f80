"""A user removes channels, stores the record, and builds the narrow network again."""

import copy
import json
from typing import Any

import pytest
import torch
from torch import nn

from harness.cost import macs
from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.models.vgg import VGG
from harness.pruning.channel import Record, replay, score_channels
from harness.pruning.channel_choice import lowest_channels

EXAMPLE = torch.zeros(1, 3, 32, 32)
SPECS: dict[str, Any] = {
    "vgg": VGG(blocks=((8, 8), (16,), (32, 32)), classes=5),
    "resnet18": ResNet(depth=18, classes=5, widths=(8, 16, 32, 64), stem="cifar", stem_width=8),
    "resnet50": ResNet(depth=50, classes=5, widths=(8, 16, 16, 16), stem="cifar", stem_width=16),
}


def prune(network: nn.Module, share: float) -> Record:
    """The weakest channels of each group, in place."""
    record = lowest_channels(score_channels(network, EXAMPLE, "magnitude"), share, "layer")
    replay(network, record, EXAMPLE)
    return record


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return SPECS[request.param]


@pytest.fixture
def small() -> nn.Module:
    torch.manual_seed(0)
    return SPECS["vgg"].build()


@pytest.fixture
def record(small: nn.Module) -> Record:
    return prune(copy.deepcopy(small), 0.5)


def test_half_the_channels_leave_about_a_quarter_of_the_macs(spec: Any) -> None:
    network = spec.build()
    dense = macs(network, 32)
    prune(network, 0.5)
    assert 0.25 <= macs(network, 32) / dense < 0.30  # the image's and the classifier's side stay whole


def test_the_network_still_learns_and_keeps_its_outputs(spec: Any) -> None:
    network = spec.build()
    prune(network, 0.3)
    logits = network(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4, 5)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_record_through_json_rebuilds_the_same_network(spec: Any) -> None:
    network, again = spec.build(), spec.build()
    record = prune(network, 0.4)
    replay(again, json.loads(json.dumps(record)), EXAMPLE)
    assert {n: t.shape for n, t in again.state_dict().items()} == {n: t.shape for n, t in network.state_dict().items()}
    again.load_state_dict(network.state_dict())
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(again.eval()(images), network.eval()(images))


def test_the_replay_removes_the_very_same_channels(small: nn.Module, record: Record) -> None:
    pruned = copy.deepcopy(small)
    replay(pruned, record, EXAMPLE)
    kept = {e["layer"]: [c for c in range(e["channels"]) if c not in e["removed"]] for e in record["groups"]}
    second, was = (network.get_parameter("features.3.weight") for network in (pruned, small))
    assert torch.equal(second, was[kept["features.3"]][:, kept["features.0"]])


def test_the_weakest_channels_go(small: nn.Module) -> None:
    weak = [1, 6]
    with torch.no_grad():
        for name in ("features.0.weight", "features.1.weight"):
            small.get_parameter(name)[weak] *= 1e-3
    record = prune(small, 0.25)
    assert next(e["removed"] for e in record["groups"] if e["layer"] == "features.0") == weak


def test_equal_channels_go_from_the_front_and_one_always_stays(small: nn.Module) -> None:
    for parameter in small.parameters():
        nn.init.ones_(parameter)
    record = prune(small, 0.99)
    assert {e["layer"]: e["removed"] for e in record["groups"]}["features.7"] == list(range(15))
    assert small(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_each_module_stays_in_its_mode(small: nn.Module) -> None:
    small.train()
    small.get_submodule("features.1").eval()
    modes = [module.training for module in small.modules()]
    statistics = copy.deepcopy(dict(small.named_buffers()))
    replay(small, {"groups": []}, EXAMPLE)
    assert [module.training for module in small.modules()] == modes
    assert all(torch.equal(b, statistics[name]) for name, b in small.named_buffers())


def test_the_network_is_traced_in_one_pass_over_the_whole_example(small: nn.Module) -> None:
    shapes: list[torch.Size] = []
    small.get_submodule("features.0").register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
    replay(small, {"groups": []}, EXAMPLE)
    assert shapes == [EXAMPLE.shape]


def test_a_network_with_nothing_to_remove_is_refused() -> None:
    with pytest.raises(UserError, match="has no channels that can go"):
        score_channels(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5)), EXAMPLE, "magnitude")


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.clear(),
        lambda r: r["groups"][0].pop("removed"),
        lambda r: r["groups"][0].update(layer="features.99"),
        lambda r: r["groups"][0].update(layer="classifier", channels=5),
        lambda r: r["groups"][0].update(layer=["features.0"]),
        lambda r: r["groups"][0].update(layer=None),
        lambda r: r["groups"][0].update(removed={1: 2}),
        lambda r: r["groups"][0].update(channels=9),
        lambda r: r["groups"][0].update(removed=None),
        lambda r: r["groups"][0]["removed"].append(r["groups"][0]["removed"][0]),
        lambda r: r["groups"][0]["removed"].append(10_000),
        lambda r: r["groups"][0]["removed"].append(-1),
        lambda r: r["groups"][0]["removed"].append("1"),
        lambda r: r["groups"][0].update(removed=list(range(r["groups"][0]["channels"]))),
        lambda r: r["groups"].append(r["groups"][0]),
        lambda r: r["groups"].append(None),
    ],
)
def test_a_damaged_record_is_refused_before_anything_is_removed(small: nn.Module, record: Record, damage: Any) -> None:
    before = {name: tensor.shape for name, tensor in small.state_dict().items()}
    record["groups"].reverse()  # so that the damage is met last
    damage(record)
    record.get("groups", []).reverse()
    with pytest.raises(UserError, match="channel record"):
        replay(small, record, EXAMPLE)
    assert {name: tensor.shape for name, tensor in small.state_dict().items()} == before


def test_a_record_of_another_network_is_refused(record: Record) -> None:
    with pytest.raises(UserError, match="does not fit"):
        replay(VGG(blocks=((8, 9), (16,), (32, 32)), classes=5).build(), record, EXAMPLE)
