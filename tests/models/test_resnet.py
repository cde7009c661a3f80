"""A user builds ResNets of torchvision's shape, and narrow ones."""

from typing import Any

import pytest
import torch
import torchvision

from harness.errors import UserError
from harness.models.resnet import ResNet, resnet18_dbl
from harness.pruning.mask import prunable
from harness.spec import encode


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
        (18, (54, 102, 184, 305), 4_686_675),
        (18, (49, 85, 140, 198), 2_358_148),
        (18, (128, 256, 512, 1024), 44_771_008),
        (18, (116, 224, 427, 796), 28_598_987),
        (18, (104, 192, 353, 618), 18_214_619),
        (18, (86, 148, 262, 432), 9_473_384),
        (50, (64, 128, 256, 512), 23_856_832),
        (50, (58, 110, 210, 402), 15_469_584),
        (50, (48, 90, 164, 330), 10_125_884),
        (50, (36, 60, 110, 246), 5_247_812),
    ],
)
def test_tiny_imagenet_networks_have_the_published_number_of_weights(depth: Any, widths: Any, weights: int) -> None:
    with torch.device("meta"):
        network = ResNet(depth=depth, classes=200, widths=widths, stem="cifar", shortcut_scale=True).build()
    assert sum(weight.numel() for weight in prunable(network).values()) == weights


@pytest.mark.parametrize("depth", [18, 50])
def test_any_widths_add_up(depth: Any) -> None:
    network = ResNet(depth=depth, classes=5, widths=(8, 16, 31, 7), stem="cifar", stem_width=6).build()
    assert network(torch.randn(2, 3, 16, 16)).shape == (2, 5)


def test_a_shortcut_is_projected_only_where_shapes_differ() -> None:
    same = dict(ResNet(depth=18, classes=5, widths=(8, 16, 32, 64), stem_width=8).build().named_parameters())
    differs = dict(ResNet(depth=18, classes=5, widths=(8, 16, 32, 64), stem_width=9).build().named_parameters())
    assert set(differs) - set(same) == {f"layer1.0.downsample.{n}" for n in ("0.weight", "1.weight", "1.bias")}


def test_the_doubled_network_keeps_its_stem() -> None:
    assert resnet18_dbl(classes=200, stem="cifar") == ResNet(
        depth=18, classes=200, widths=(128, 256, 512, 1024), stem="cifar", stem_width=64
    )


def test_scales_of_one_on_the_identity_shortcuts_change_nothing_at_first() -> None:
    plain, scaled = (
        ResNet(depth=18, classes=5, widths=(8, 8, 12, 12), stem="cifar", stem_width=8, shortcut_scale=scale).build()
        for scale in (False, True)
    )
    missing, unexpected = scaled.load_state_dict(plain.state_dict(), strict=False)
    identities = ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    assert missing == [f"{name}.downsample.weight" for name in identities] and not unexpected
    assert [scaled.get_parameter(name).shape for name in missing] == [(8, 1, 1)] * 3 + [(12, 1, 1)] * 2
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(scaled(images), plain(images))
    assert list(prunable(scaled)) == list(prunable(plain))


def test_a_scale_multiplies_its_channel_of_the_shortcut_and_is_learned() -> None:
    network = ResNet(depth=50, classes=5, widths=(2, 2, 2, 2), stem="cifar", stem_width=8, shortcut_scale=True).build()
    scale, maps = network.get_submodule("layer1.0.downsample"), torch.randn(2, 8, 3, 3)
    with torch.no_grad():
        scale.get_parameter("weight")[5] = 3
    expected = maps.clone()
    expected[:, 5] *= 3
    assert torch.equal(scale(maps), expected)
    network(torch.randn(2, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in scale.parameters())


def test_a_network_without_scales_is_spelled_as_before_there_were_any() -> None:
    fields = {"spec", "depth", "classes", "widths", "stem", "stem_width"}
    assert set(encode(ResNet(depth=18, classes=5))) == fields
    assert set(encode(ResNet(depth=18, classes=5, shortcut_scale=True))) == {*fields, "shortcut_scale"}


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
