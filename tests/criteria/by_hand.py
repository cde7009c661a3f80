"""What the tests of all gradient criteria compare with: back-propagation written out, and finite differences."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from harness.pruning.mask import prunable

POSITIONS = ((0, 0), (1, 2), (2, 1))


def gradients(perceptron: nn.Sequential, images: Tensor, at_logits: Tensor) -> dict[str, Tensor]:
    """dL/dW1 and dL/dW2 of L with dL/dlogits `at_logits` (n, 3), for logits = W2 relu(W1 x), images (n, 3, 2, 2)."""
    first, second = (weight.detach() for weight in prunable(perceptron).values())
    inputs = images.flatten(1)
    hidden = (inputs @ first.T).clamp(min=0)
    at_hidden = (at_logits @ second) * (hidden > 0)
    return {"1.weight": at_hidden.T @ inputs, "3.weight": at_logits.T @ hidden}


def probabilities(perceptron: nn.Sequential, images: Tensor) -> Tensor:
    """softmax(W2 relu(W1 x)), (n, 3)."""
    first, second = (weight.detach() for weight in prunable(perceptron).values())
    powers = ((images.flatten(1) @ first.T).clamp(min=0) @ second.T).exp()
    return powers / powers.sum(1, keepdim=True)


def cross_entropy_at_logits(perceptron: nn.Sequential, images: Tensor, labels: Tensor) -> Tensor:
    """d(mean cross-entropy)/dlogits = (p - onehot) / n."""
    return (probabilities(perceptron, images) - torch.eye(3, dtype=torch.float64)[labels]) / len(labels)


@torch.no_grad()
def sensitivities(model: nn.Module, loss: Callable[[], Tensor]) -> Iterable[tuple[str, tuple[int, int], float]]:
    """dL/dm at m = 1 for some weights of every layer: central differences as m goes through 1."""
    for name, weight in prunable(model).items():
        for position in POSITIONS:
            entry = weight[position]  # in a convolution a whole kernel, of which the first weight is moved
            one = entry.view(-1)[:1]
            before, losses = one.clone(), []
            for m in (1 + 1e-5, 1 - 1e-5):
                one.copy_(before * m)
                losses.append(float(loss()))
                one.copy_(before)
            yield name, position, (losses[0] - losses[1]) / 2e-5


def at(scores: dict[str, Tensor], name: str, position: tuple[int, int]) -> float:
    """The score of the weight that `sensitivities` moved."""
    return float(scores[name][position].reshape(-1)[0])
