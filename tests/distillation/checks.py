"""What the tests of all distillation methods share: random outputs in float64, and slopes by finite differences."""

from collections.abc import Callable

import torch
from torch import Tensor

from harness.batch import Batch
from harness.taps import Outputs

LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
COUNT, CLASSES = len(LABELS), 5
BATCH = Batch(torch.zeros(COUNT, 3, 1, 1), LABELS, torch.tensor([7, 3, 11, 0, 5, 2]), position=12)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, times 3."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def logits(seed: int = 0) -> Tensor:
    """Of one network for the six images."""
    return draw(COUNT, CLASSES, seed=seed)


def outputs(*features: Tensor, seed: int = 0) -> Outputs:
    """Logits, and the features of layers "0", "1", ..."""
    return Outputs(logits(seed), {str(number): feature for number, feature in enumerate(features)})


def require_slope(function: Callable[[Tensor], Tensor], at: Tensor) -> None:
    """The gradient equals finite differences."""
    assert torch.autograd.gradcheck(function, at.detach().clone().requires_grad_())
