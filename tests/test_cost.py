"""What a network costs, against numbers worked out by hand."""

import copy

import torch

from harness import cost
from harness.models.resnet import ResNet
from harness.models.vgg import VGG
from harness.pruning import mask


def test_resnet50_at_224_pixels_has_the_published_parameters_and_macs() -> None:
    with torch.device("meta"):
        network = ResNet(depth=50, classes=1000).build()
    assert cost.parameters(network) == 25_557_032
    assert cost.macs(network, 224) == 4_089_184_256


def test_macs_of_a_small_network_by_hand() -> None:
    network = VGG(blocks=((4,), (5,)), classes=3).build()
    assert cost.macs(network, 8) == 8 * 8 * 9 * 3 * 4 + 4 * 4 * 9 * 4 * 5 + 5 * 3


def test_nonzeros_are_parameters_less_what_pruning_removed() -> None:
    network = VGG(blocks=((4,), (5,)), classes=3).build()
    dense = (3 * 4 * 9 + 4 + 8) + (4 * 5 * 9 + 5 + 10) + (5 * 3 + 3)
    assert cost.parameters(network) == cost.nonzeros(network) + mask.zeros(network) == dense
    keep = torch.ones(3, 5, dtype=torch.bool)
    keep[0, :4] = False
    mask.apply(network, {"classifier.weight": keep})
    assert cost.parameters(network) == dense
    assert cost.nonzeros(network) == dense - 4  # BatchNorm's zero shifts are stored all the same


def test_counting_leaves_the_network_as_it_was() -> None:
    network = VGG(blocks=((4,), (5,)), classes=3).build().train()
    network.get_submodule("features.1").eval()
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    cost.macs(network, 8)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert not any(tensor.is_meta for tensor in network.state_dict().values())
