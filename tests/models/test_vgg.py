"""A user builds VGGs by depth and by hand."""

from typing import Any

import pytest
import torch

from harness.cost import parameters
from harness.errors import UserError
from harness.models.vgg import VGG, vgg, vgg16_tiny, vgg19_cl1, vgg19_cl2, vgg19_dbl, vgg_of_widths
from harness.pruning.mask import prunable
from harness.spec import encode


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_a_standard_plan_has_as_many_weight_layers_as_its_name_says_less_two_linear_ones(depth: int) -> None:
    assert len(prunable(vgg(depth=depth, classes=10).build())) == depth - 2


def weights_of(spec: VGG) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in prunable(spec.build()).values())


@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        (vgg(depth=11, classes=100), 9_268_928),
        (vgg(depth=19, classes=100), 20_070_080),
        (vgg19_dbl(classes=100), 75_329_216),
        (vgg19_cl1(classes=100), 11_001_536),
        (vgg19_cl2(classes=100), 9_915_146),
    ],
)
def test_the_plans_for_cifar100_have_the_published_number_of_weights(spec: VGG, weights: int) -> None:
    assert weights_of(spec) == weights


@pytest.mark.parametrize(
    ("widths", "weights"),
    [
        ("53 61 128 121 258 241 258 236 485 410 406 374 340 358 390 399", 12_809_766),
        ("44 56 116 112 238 227 240 209 408 348 339 246 196 214 367 272", 8_168_150),
        ("40 49 111 97 225 187 224 170 356 233 220 99 111 84 297 122", 4_153_613),
        ("51 118 265 235 525 468 525 452 941 775 859 731 754 713 738 443", 48_121_904),
        ("40 111 244 218 472 445 473 406 833 674 637 542 381 469 681 350", 30_792_113),
        ("39 99 243 194 472 387 468 340 726 402 356 239 205 194 461 238", 15_723_850),
    ],
)
def test_the_published_students_of_vgg19_have_the_published_number_of_weights(widths: str, weights: int) -> None:
    assert weights_of(vgg_of_widths([int(width) for width in widths.split()], classes=100)) == weights


def test_widths_are_dealt_out_to_the_blocks_of_a_vgg19() -> None:
    assert vgg_of_widths([64] * 2 + [128] * 2 + [256] * 4 + [512] * 8, classes=7) == vgg(depth=19, classes=7)
    with pytest.raises(UserError, match="16 convolutions, so as many widths, not 15"):
        vgg_of_widths([8] * 15, classes=7)


def test_vgg16_for_tiny_imagenet_sees_2048_features_and_has_three_linear_layers() -> None:
    with torch.device("meta"):
        network = vgg16_tiny().build()
        assert network(torch.empty(2, 3, 64, 64)).shape == (2, 200)
    linear = [layer for layer in network.get_submodule("classifier").children() if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(2048, 1024), (1024, 1024), (1024, 200)]
    assert len(prunable(network)) == 16


def test_hidden_features_are_dropped_while_training_only() -> None:
    network = VGG(blocks=((4,),), classes=3, hidden=(50,), dropout=0.5).build()
    images = torch.randn(2, 3, 8, 8)
    assert not torch.equal(network(images), network(images))
    assert torch.equal(network.eval()(images), network(images))


def test_the_classifier_sees_maps_of_the_pooled_side() -> None:
    network = VGG(blocks=((4,),), classes=3, pooled=2).build()
    images = torch.randn(2, 3, 8, 8)
    maps = network.get_submodule("features")(images)
    quarters = maps.unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2)).flatten(1)
    torch.testing.assert_close(network(images), network.get_submodule("classifier")(quarters))


def test_a_network_of_one_linear_layer_is_spelled_and_named_as_before_there_were_more() -> None:
    spec = VGG(blocks=((4,),), classes=3)
    assert set(encode(spec)) == {"spec", "blocks", "classes"}
    assert {"classifier.weight", "classifier.bias"} < set(spec.build().state_dict())


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"hidden": (0,)}, "at least 1"),
        ({"pooled": 0}, "at least 1"),
        ({"hidden": (8,), "dropout": 1.0}, "dropout of a VGG is 1.0"),
        ({"hidden": (8,), "dropout": -0.1}, "dropout of a VGG is -0.1"),
        ({"dropout": 0.5}, "there are none"),
    ],
)
def test_a_classifier_that_cannot_be_is_refused_when_it_is_named(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        VGG(blocks=((4,),), classes=3, **wrong)


def test_an_unknown_depth_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"depth 12.*11, 13, 16, 19"):
        vgg(depth=12, classes=10)


@pytest.mark.parametrize("blocks", [((4,), (5,), (6,), (7,), (8,)), ((4, 5), (6,), (7, 8))])
def test_five_blocks_end_at_2x2_and_three_at_8x8_maps(blocks: tuple[tuple[int, ...], ...]) -> None:
    network = VGG(blocks=blocks, classes=3).build()
    images = torch.randn(2, 3, 32, 32)
    side = 32 // 2 ** (len(blocks) - 1)
    assert network.get_submodule("features")(images).shape == (2, 8, side, side)
    assert network(images).shape == (2, 3)


def test_convolutions_have_biases_and_kaiming_weights() -> None:
    torch.manual_seed(0)
    network = VGG(blocks=((64, 64),), classes=3).build()
    assert parameters(network.get_submodule("features.3")) == 64 * 64 * 9 + 64
    assert network.get_parameter("features.3.weight").std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_the_same_seed_gives_the_same_weights() -> None:
    spec = VGG(blocks=((4,), (5,)), classes=3)
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(torch.cat([p.flatten() for p in spec.build().parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
