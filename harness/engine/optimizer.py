"""The optimizer of every engine.

Lives here: SGD and which parameters decay. Must not: schedules (`harness.schedule`).
"""

import torch
from torch import nn

from harness.pruning.mask import Masks
from harness.recipe import Recipe


def sgd(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD whose weight decay spares BatchNorm and biases, by module type and never by name, unless asked otherwise."""
    decayed = {id(module.weight) for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) in decayed], "weight_decay": recipe.weight_decay},
        {
            "params": [p for p in trained if id(p) not in decayed],
            "weight_decay": recipe.weight_decay if recipe.decay_all else 0.0,
        },
    ]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)


def momentum_of(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, torch.Tensor]:
    """The momentum of every parameter by name, where the optimizer steps the parameters themselves."""
    found = {name: (p, optimizer.state[p].get("momentum_buffer")) for name, p in network.named_parameters()}
    return {name: torch.zeros_like(p) if buffer is None else buffer for name, (p, buffer) in found.items()}


def set_momentum(optimizer: torch.optim.Optimizer, network: nn.Module, values: dict[str, torch.Tensor]) -> None:
    """Inverse of `momentum_of`."""
    for name, parameter in network.named_parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter).copy_(values[name])


def without(momentum: dict[str, torch.Tensor], masks: Masks) -> dict[str, torch.Tensor]:
    """The same momentum, 0.0 where a mask removes the weight."""
    return {
        name: buffer.masked_fill(~masks[name].to(buffer.device), 0.0) if name in masks else buffer
        for name, buffer in momentum.items()
    }


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The rate of the next step, for all groups."""
    for group in optimizer.param_groups:
        group["lr"] = lr
