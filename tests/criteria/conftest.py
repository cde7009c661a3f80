"""Networks small enough to be scored by hand, in float64, and batches for them."""

import pytest
import torch
from torch import nn

from harness.batch import Batch


@pytest.fixture
def perceptron() -> nn.Sequential:
    """Images (n, 3, 2, 2) -> logits (n, 3) = W2 relu(W1 x)."""
    torch.manual_seed(0)
    first, second = nn.Linear(12, 5, bias=False), nn.Linear(5, 3, bias=False)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).double()


@pytest.fixture
def smooth() -> nn.Sequential:
    """Images (n, 3, 2, 2) -> logits (n, 3) = W2 tanh(W1 x + b1) + b2: it has a curvature everywhere."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@pytest.fixture
def dropping(smooth: nn.Sequential) -> nn.Sequential:
    """The smooth one with dropout before its last layer."""
    *body, head = smooth.children()
    return nn.Sequential(*body, nn.Dropout(0.4), head)


@pytest.fixture
def convnet() -> nn.Sequential:
    """Convolution, BatchNorm with a past, classifier; images (n, 3, 2, 2) -> logits (n, 3)."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    nn.init.normal_(norm.weight)
    norm.register_buffer("running_mean", torch.randn(4))
    nn.init.uniform_(norm.bias, 0.5, 2)  # above 0, so that no channel is dead
    norm.register_buffer("running_var", 0.5 + torch.rand(4))
    layers = nn.Conv2d(3, 4, 3, padding=1), norm, nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    return nn.Sequential(*layers).double()


@pytest.fixture
def batches() -> list[Batch]:
    """Two batches of five images; class 2 has a single image among all ten."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([[0, 1, 1, 2, 0], [1, 0, 0, 1, 1]])
    images = torch.randn(2, 5, 3, 2, 2, generator=generator, dtype=torch.float64)
    return [Batch(images[n], labels[n], torch.arange(5 * n, 5 * n + 5)) for n in range(2)]
