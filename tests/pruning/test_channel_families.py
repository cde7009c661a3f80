"""Residual, depthwise and attention networks become narrower, and only where that is safe."""

import copy
import json
from typing import Any

import pytest
import torch
from torch import nn

from harness.models.resnet import ResNet
from harness.models.timm import Timm
from harness.models.torchvision import Torchvision
from harness.models.vgg import VGG
from harness.pruning.channel import Record, replay, score_channels
from harness.pruning.channel_choice import lowest_channels

EXAMPLE = torch.zeros(1, 3, 32, 32)
FAMILIES: dict[str, Any] = {
    "resnet18": ResNet(depth=18, classes=10, stem="cifar"),
    "scaled": ResNet(depth=18, classes=10, widths=(8, 16, 32, 64), stem="cifar", stem_width=8, shortcut_scale=True),
    "resnet50": Torchvision("resnet50", classes=10),
    "vgg": VGG(blocks=((16, 16), (32,), (64, 64)), classes=10),
    "mobilenet": Torchvision("mobilenet_v2", classes=10),
    "vit": Timm("vit_tiny_patch16_224", classes=10, image_size=32),
}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, nn.Module, Record]:
    """Its name, the dense network, and a record that removes seven channels of ten."""
    torch.manual_seed(0)
    network = FAMILIES[request.param].build().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return request.param, network, lowest_channels(score_channels(network, EXAMPLE, "random"), 0.7, "layer")


def replayed(network: nn.Module, record: Record) -> nn.Module:
    narrow = copy.deepcopy(network)
    replay(narrow, record, EXAMPLE)
    return narrow


def test_a_stored_record_and_the_weights_give_the_same_network_bit_by_bit(
    family: tuple[str, nn.Module, Record],
) -> None:
    name, dense, record = family
    narrow = replayed(dense, record)
    again = FAMILIES[name].build()
    replay(again, json.loads(json.dumps(record)), EXAMPLE)
    again.load_state_dict(narrow.state_dict())
    assert torch.equal(again.eval()(IMAGES), narrow(IMAGES))
    assert narrow(IMAGES).shape == (2, 10)


def test_a_record_is_the_same_network_on_the_meta_device(family: tuple[str, nn.Module, Record]) -> None:
    _, dense, record = family
    shapes = {name: tensor.shape for name, tensor in replayed(dense, record).state_dict().items()}
    empty = replayed(copy.deepcopy(dense).to("meta"), record)
    assert {name: tensor.shape for name, tensor in empty.state_dict().items()} == shapes


def test_what_is_left_computes_what_the_dense_network_does_without_those_channels(
    family: tuple[str, nn.Module, Record],
) -> None:
    """Zeros in the dense network stand for removed channels; a LayerNorm would see them, so the ViT's widths stay."""
    name, dense, record = family
    if name == "vit":
        record = {"groups": [group for group in record["groups"] if group["layer"].endswith("mlp.fc1")]}
    zeroed = copy.deepcopy(dense)
    with torch.no_grad():
        for layer, kept in rows_kept(dense, record).items():
            module = zeroed.get_submodule(layer)
            for parameter in module.parameters():
                gone = sorted(set(range(len(parameter))) - set(kept))
                parameter[gone] = 0
    narrow = replayed(dense, record)
    assert sum(p.numel() for p in narrow.parameters()) < 0.75 * sum(p.numel() for p in dense.parameters())
    torch.testing.assert_close(narrow(IMAGES), zeroed(IMAGES), rtol=1e-3, atol=1e-4)


def rows_kept(dense: nn.Module, record: Record) -> dict[str, list[int]]:
    """The output channels that each layer keeps, read off a copy whose weights are their channel's number."""
    numbered = copy.deepcopy(dense)
    for parameter in numbered.parameters():
        number = torch.arange(float(len(parameter)))
        parameter.data = number.view(-1, *[1] * (parameter.dim() - 1)).expand_as(parameter).clone()
    narrow = replayed(numbered, record)
    return {
        name: module.weight.flatten(1)[:, 0].long().tolist() if module.weight.dim() > 1 else module.weight.tolist()
        for name, module in narrow.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    }


def test_every_tensor_of_a_vits_stream_keeps_the_same_channels_in_order() -> None:
    torch.manual_seed(0)
    network = FAMILIES["vit"].build()
    for parameter in network.parameters():
        parameter.data = torch.arange(float(parameter.shape[-1])).expand_as(parameter).clone()
    record = lowest_channels(score_channels(network, EXAMPLE, "random"), 0.95, "layer")
    stream = next(group for group in record["groups"] if group["layer"] == "blocks.11.mlp.fc2")
    kept = [float(channel) for channel in range(192) if channel not in stream["removed"]]
    replay(network, record, EXAMPLE)
    for name in ("norm.weight", "norm.bias", "blocks.3.norm1.weight", "cls_token", "pos_embed", "head.weight"):
        assert network.get_parameter(name).flatten()[: len(kept)].tolist() == kept
    assert network.get_parameter("blocks.0.attn.qkv.weight").shape == (576, len(kept))


@pytest.mark.parametrize(
    ("why", "spec", "some_in", "none_of"),
    [
        ("heads of a fixed size", FAMILIES["vit"], "mlp.fc1", "attn"),
        ("grouped convolutions", Torchvision("resnext50_32x4d", classes=10), "downsample", "conv1"),
        ("torch's attention", Torchvision("vit_b_32", classes=10), "mlp.0", "conv_proj"),
    ],
)
def test_what_cannot_go_safely_is_no_group(why: str, spec: Any, some_in: str, none_of: str) -> None:
    size = 224 if spec.name == "vit_b_32" else 32
    with torch.device("meta"):
        network = spec.build()
    layers = list(score_channels(network, torch.zeros(1, 3, size, size), "random"))
    assert any(some_in in layer for layer in layers)
    inner = [layer for layer in layers if none_of in layer]
    assert inner in ([], ["conv1"])  # a ResNeXt's own conv1, its stem, is no grouped one


def test_channels_that_share_a_groupnorm_stay() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(6 * 28 * 28, 2)
    )
    assert list(score_channels(network, EXAMPLE, "magnitude")) == ["3"]
