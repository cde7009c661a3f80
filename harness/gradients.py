"""Gradients for scores, from a network that is left exactly as it was.

Lives here: gradients, products with the Hessian, the network at other weights, and its mode for a while. Must not:
formulas of criteria.

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
from harness.contracts import Forward
from harness.pruning.mask import prunable

Weights = dict[str, Tensor]
"""Parameter name -> values, or what belongs to each of them."""


def network_at(model: nn.Module, weights: Weights) -> Forward:
    """The network with `weights` in place of its own; what a forward does to buffers is thrown away."""

    def forward(images: Tensor) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        logits: Tensor = functional_call(model, weights | buffers, (images,))
        return logits

    return forward


@torch.enable_grad()
def summed_gradients(
    model: nn.Module, batches: Iterable[Batch], loss: Callable[[Forward, Batch], Tensor], *, training: bool
) -> Weights:
    """The sum over `batches` of d loss(network, batch) / d weight for every prunable weight, in its shape.

    `loss` gives a scalar. `training` is the mode the network runs in meanwhile.
    """
    weights = _leaves(prunable(model))
    with in_mode(model, training=training):
        for batch in batches:
            torch.autograd.backward(loss(network_at(model, weights), batch), inputs=list(weights.values()))
    return {name: torch.zeros_like(weight) if weight.grad is None else weight.grad for name, weight in weights.items()}


@torch.enable_grad()
def gradient(loss: Callable[[Weights], Tensor], weights: Weights) -> Weights:
    """d loss / d weight of a scalar `loss` at `weights`."""
    leaves = _leaves(weights)
    gradients = torch.autograd.grad(loss(leaves), list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, gradients, strict=True))


@torch.enable_grad()
def hessian_vector_product(loss: Callable[[Weights], Tensor], weights: Weights, vector: Weights) -> Weights:
    """H v, H the Hessian of a scalar `loss` at `weights`, v the `vector`: the gradient of (gradient times v).

    Zeros where `loss` is linear in the weights.
    """
    leaves = _leaves(weights)
    gradients = torch.autograd.grad(loss(leaves), list(leaves.values()), create_graph=True, materialize_grads=True)
    curved = [(g, vector[name]) for name, g in zip(leaves, gradients, strict=True) if g.requires_grad]
    if not curved:
        return {name: torch.zeros_like(weight) for name, weight in weights.items()}
    outputs, seeds = zip(*curved, strict=True)
    products = torch.autograd.grad(outputs, list(leaves.values()), seeds, materialize_grads=True)
    return dict(zip(leaves, products, strict=True))


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


def _leaves(weights: "dict[str, nn.Parameter] | Weights") -> Weights:
    return {name: weight.detach().requires_grad_() for name, weight in weights.items()}
