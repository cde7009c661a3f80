"""Gradients for scores, from a network that is left exactly as it was.

Lives here: gradients with respect to the prunable weights, and a network's mode for a while. Must not: formulas of
criteria.

The network is called with stand-ins: detached weights, which gather the gradients, and copies of the buffers, which
take BatchNorm's new running statistics. So no parameter gets a `.grad`, no gradient hook fires, frozen and pruned
weights have a gradient like any other, and there is nothing to put back but the mode. In memory there is one gradient
for each weight, however many batches there are.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness.batch import Batch
from harness.contracts import Objective
from harness.objective import total
from harness.pruning.mask import prunable


@torch.enable_grad()
def summed_gradients(
    model: nn.Module, batches: Iterable[Batch], loss: Callable[[Tensor, Batch], Tensor], *, training: bool
) -> dict[str, Tensor]:
    """The sum over `batches` of d loss(logits, batch) / d weight for every prunable weight, in its shape.

    `loss` gives a scalar. `training` is the mode the network runs in meanwhile.
    """
    weights = {name: weight.detach().requires_grad_() for name, weight in prunable(model).items()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with in_mode(model, training=training):
        for batch in batches:
            logits = functional_call(model, weights | buffers, (batch.images,))
            torch.autograd.backward(loss(logits, batch), inputs=list(weights.values()))
    return {name: torch.zeros_like(weight) if weight.grad is None else weight.grad for name, weight in weights.items()}


def total_loss(objective: Objective) -> Callable[[Tensor, Batch], Tensor]:
    """The loss that training with `objective` would minimise: the sum of its terms."""
    return lambda logits, batch: total(objective(logits, batch))


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """All modules in training or in evaluation mode; afterwards each is in its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
