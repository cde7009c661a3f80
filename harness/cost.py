"""What a network costs, in numbers that no machine changes.

Lives here: parameters, nonzeros, MACs. Must not: anything that is measured.
"""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.pruning import mask


def parameters(model: nn.Module) -> int:
    """Trainable numbers: weights, biases, BatchNorm's scales and shifts; not its running statistics."""
    return sum(parameter.numel() for parameter in model.parameters())


def nonzeros(model: nn.Module) -> int:
    """Parameters less the zeros among the prunable weights; a bias that happens to be 0 still counts as stored."""
    return parameters(model) - mask.zeros(model)


def macs(model: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image (3, `image_size`, `image_size`).

    Zeros inside a weight do not lower them. Counted on a copy without data: no arithmetic, and `model` is untouched.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.empty(1, 3, image_size, image_size, device="meta"))
    return int(counter.get_total_flops()) // 2
