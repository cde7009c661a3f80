"""Weight decay is for weights of convolutions and linear layers, chosen by module type."""

import torch
from torch import nn

from harness.data.augment import Augment
from harness.engine.optimizer import sgd
from harness.recipe import Recipe

RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=8), lr=0.5, weight_decay=0.1, momentum=0.0, nesterov=False)


def test_only_convolution_and_linear_weights_shrink_without_a_gradient() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2), nn.LayerNorm(2))
    for parameter in network.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    sgd(network, RECIPE).step()
    values = {name: set(parameter.flatten().tolist()) for name, parameter in network.named_parameters()}
    shrunk = {name for name, value in values.items() if value == {torch.tensor(0.95).item()}}
    assert shrunk == {"0.weight", "3.weight"}
    assert all(value == {1.0} for name, value in values.items() if name not in shrunk)
