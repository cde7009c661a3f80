"""How much of a loss's gradient is left when weights have gone.

Lives here: `gradient_flow`. Must not: choosing what goes.
"""

import copy
import math
from functools import partial

import torch
from torch import nn

from harness.batch import Batch
from harness.gradients import summed_gradients
from harness.objective import CrossEntropy, loss
from harness.pruning.mask import Masks, all_kept, apply


def gradient_flow(network: nn.Module, masks: Masks, batch: Batch) -> float | None:
    """The squared norm of the gradient that training would follow without what `masks` removes, over that with it.

    Of the mean cross-entropy of one batch with respect to the prunable weights, in training mode (Wang, Zhang & Grosse,
    ICLR 2020, call it gradient flow). `network` is whole, and stays so. None if that is no finite number.
    """
    pruned = copy.deepcopy(network)
    apply(pruned, masks)
    left, whole = _squared_norm(pruned, masks, batch), _squared_norm(network, all_kept(network), batch)
    return left / whole if whole > 0 and math.isfinite(left / whole) else None


def _squared_norm(network: nn.Module, masks: Masks, batch: Batch) -> float:
    """With the same draws (dropout) at every call."""
    device = batch.images.device
    with torch.random.fork_rng([] if device.type == "cpu" else [device]):
        torch.manual_seed(0)
        gradients = summed_gradients(network, [batch], partial(loss, CrossEntropy()), training=True)
    return sum(float((gradients[name].double() ** 2)[mask].sum()) for name, mask in masks.items())
