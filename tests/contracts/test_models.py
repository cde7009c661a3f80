"""Every architecture, found by its file, goes through the same tests."""

import json
from typing import Any

import pytest
import torch

from harness import plugins
from harness.models.resnet import ResNet
from harness.models.timm import Timm
from harness.models.torchvision import Torchvision
from harness.models.vgg import VGG
from harness.pruning.mask import prunable
from harness.spec import encode, model_from_json

EXAMPLES = {
    "resnet": ResNet(depth=18, classes=3, widths=(4, 6, 8, 10), stem="cifar", stem_width=4),
    "timm": Timm("test_vit", classes=3, image_size=32),
    "torchvision": Torchvision("shufflenet_v2_x0_5", classes=3),
    "vgg": VGG(blocks=((4,), (6, 8)), classes=3),
}
"""A small one of each; a new architecture adds a row."""


@pytest.fixture(params=plugins.names("models"))
def spec(request: pytest.FixtureRequest) -> Any:
    return EXAMPLES[request.param]


def test_images_become_logits_and_every_parameter_gets_a_gradient(spec: Any) -> None:
    torch.manual_seed(0)
    network = spec.build()
    logits = network(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4, spec.classes)
    logits.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_a_network_in_evaluation_treats_images_one_by_one(spec: Any) -> None:
    torch.manual_seed(0)
    network, images = spec.build().eval(), torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]))


def test_it_has_prunable_weights_from_the_image_to_the_classes(spec: Any) -> None:
    weights = list(prunable(spec.build()).values())
    assert weights[0].shape[1] == 3
    assert weights[-1].shape[0] == spec.classes


def test_the_same_architecture_comes_back_from_json(spec: Any) -> None:
    again = model_from_json(json.loads(json.dumps(encode(spec))))
    assert again == spec
    again.build().load_state_dict(spec.build().state_dict())
