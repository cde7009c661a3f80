"""A user builds VGGs by depth and by hand."""

import pytest
import torch

from harness.cost import parameters
from harness.errors import UserError
from harness.models.vgg import VGG, vgg
from harness.pruning.mask import prunable


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_a_standard_plan_has_as_many_weight_layers_as_its_name_says_less_two_linear_ones(depth: int) -> None:
    assert len(prunable(vgg(depth=depth, classes=10).build())) == depth - 2


def test_the_plans_for_cifar100_have_the_published_number_of_weights() -> None:
    for depth, weights in ((11, 9_268_928), (19, 20_070_080)):
        with torch.device("meta"):
            network = vgg(depth=depth, classes=100).build()
        assert sum(weight.numel() for weight in prunable(network).values()) == weights


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
