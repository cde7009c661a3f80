"""A user builds ResNets of torchvision's shape, and narrow ones."""

from typing import Any

import pytest
import torch
import torchvision

from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.pruning.mask import prunable


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_weights_of_torchvision_load_and_give_the_same_logits(depth: int) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=7).train()
    ours = ResNet(depth=depth, classes=7).build().train()  # type: ignore[arg-type]
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images))
    assert torch.equal(ours.eval()(images), theirs.eval()(images))  # running statistics too


@pytest.mark.parametrize(
    ("depth", "widths", "weights"),
    [
        (18, (64, 128, 256, 512), 11_261_632),
        (18, (58, 113, 216, 398), 7_259_959),
        (18, (116, 224, 427, 796), 28_598_987),
        (50, (58, 110, 210, 402), 15_469_584),
    ],
)
def test_tiny_imagenet_networks_have_the_published_number_of_weights(depth: Any, widths: Any, weights: int) -> None:
    with torch.device("meta"):
        network = ResNet(depth=depth, classes=200, widths=widths, stem="cifar").build()
    assert sum(weight.numel() for weight in prunable(network).values()) == weights


@pytest.mark.parametrize("depth", [18, 50])
def test_any_widths_add_up(depth: Any) -> None:
    network = ResNet(depth=depth, classes=5, widths=(8, 16, 31, 7), stem="cifar", stem_width=6).build()
    assert network(torch.randn(2, 3, 16, 16)).shape == (2, 5)


def test_a_shortcut_is_projected_only_where_shapes_differ() -> None:
    same = dict(ResNet(depth=18, classes=5, widths=(8, 16, 32, 64), stem_width=8).build().named_parameters())
    differs = dict(ResNet(depth=18, classes=5, widths=(8, 16, 32, 64), stem_width=9).build().named_parameters())
    assert set(differs) - set(same) == {f"layer1.0.downsample.{n}" for n in ("0.weight", "1.weight", "1.bias")}


@pytest.mark.parametrize(("stem", "side"), [("cifar", 32), ("imagenet", 8)])
def test_the_stem_decides_the_size_of_the_maps_in_stage_one(stem: Any, side: int) -> None:
    network = ResNet(depth=18, classes=5, widths=(8, 8, 8, 8), stem=stem, stem_width=8).build()
    sides: list[int] = []
    network.get_submodule("layer1").register_forward_hook(lambda _m, _i, maps: sides.append(maps.shape[-1]))
    network(torch.randn(2, 3, 32, 32))
    assert sides == [side]


@pytest.mark.parametrize("wrong", [{"depth": 20}, {"widths": (8, 16, 32)}, {"stem": "tiny"}])
def test_what_does_not_exist_is_refused_when_it_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        ResNet(**{"depth": 18, "classes": 5, **wrong})
