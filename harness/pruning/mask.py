"""Masks: which weights of a network are kept.

Lives here: the prunable weights, reading, applying and holding masks. Must not: choosing what to remove (`threshold`).

A removed weight is exactly 0.0. Apply and hold before DDP or DeepSpeed wraps the network: an engine with master copies
undoes a zero that is written afterwards.
"""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Masks = dict[str, Tensor]
"""Parameter name -> boolean tensor of the parameter's shape, True where the weight is kept."""


def prunable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Every Conv2d and Linear weight, in module order: first convolution and classifier too, no bias, no BatchNorm."""
    return {
        f"{name}.weight" if name else "weight": layer.get_parameter("weight")
        for name, layer in module.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }


def masks_of(module: nn.Module) -> Masks:
    """The masks that the zeros of the prunable weights stand for."""
    return {name: weight.detach() != 0 for name, weight in prunable(module).items()}


def all_kept(module: nn.Module) -> Masks:
    """Masks that remove nothing, whatever is 0 by chance or by a layer's own initialisation."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(module).items()}


@torch.no_grad()
def apply(module: nn.Module, masks: Masks) -> None:
    """Set the removed weights to 0.0, in place."""
    zero(prunable(module), masks)


@torch.no_grad()
def zero(tensors: Mapping[str, Tensor], masks: Masks) -> None:
    """Set what `masks` removes to 0.0 in the tensors of the same names, in place."""
    for name, mask in masks.items():
        removed = ~mask.to(tensors[name].device)
        tensors[name].masked_fill_(removed, 0.0)  # a product would leave -0.0, and nan where a weight is not finite


@torch.no_grad()
def keep_apart(module: nn.Module, masks: Masks) -> None:
    """Make kept weights that are 0 by chance the smallest normal number, in place: zeros alone tell what is gone.

    Of the 25 million that a ResNet-50 is drawn with, one or two are 0.
    """
    for name, weight in prunable(module).items():
        weight.masked_fill_((weight == 0) & masks[name].to(weight.device), torch.finfo(weight.dtype).tiny)


def hold(module: nn.Module, masks: Masks) -> list[RemovableHandle]:
    """Keep the gradients of the removed weights at exactly 0.0 until the handles are removed.

    With zeroed weights and fresh momentum this keeps them at 0.0 under SGD, weight decay included.
    """
    weights = prunable(module)
    return [
        weights[name].register_hook(_Hold(~mask))  # type: ignore[no-untyped-call]
        for name, mask in masks.items()
        if not mask.all()
    ]


def zeros(module: nn.Module) -> int:
    """How many prunable weights are 0."""
    return sum(weight.numel() - int(weight.count_nonzero()) for weight in prunable(module).values())


def removed_from(module: nn.Module) -> dict[str, int]:
    """How many weights each layer has lost, by its zeros."""
    return {name: int((weight == 0).count_nonzero()) for name, weight in prunable(module).items()}


def kept(masks: Masks) -> dict[str, int]:
    """How many weights each layer keeps."""
    return {name: int(mask.count_nonzero()) for name, mask in masks.items()}


def digest(masks: Masks) -> str:
    """SHA-256 over names, shapes and every single decision: equal digests are equal masks."""
    found = hashlib.sha256()
    for name, mask in masks.items():
        found.update(f"{name} {tuple(mask.shape)} ".encode())
        found.update(mask.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


class _Hold:
    """A gradient hook for one parameter."""

    def __init__(self, removed: Tensor) -> None:
        self.removed = removed

    def __call__(self, gradient: Tensor) -> Tensor:
        self.removed = self.removed.to(gradient.device)  # the network may have moved since
        return gradient.masked_fill(self.removed, 0.0)
