"""How much of a loss's gradient is left when weights have gone.

Lives here: `gradient_flow`. Must not: choosing what goes.
"""

import copy
from functools import partial

from torch import Tensor, nn

from harness.batch import Batch
from harness.criteria._gradients import summed_gradients
from harness.objective import CrossEntropy, loss
from harness.pruning.mask import Masks, all_kept, apply


def gradient_flow(network: nn.Module, masks: Masks, batch: Batch) -> float:
    """The squared norm of the gradient that training would follow without what `masks` removes, over that with it.

    Of the mean cross-entropy of one batch with respect to the prunable weights, in training mode (Wang, Zhang & Grosse,
    ICLR 2020, call it gradient flow). `network` is whole, and stays so.
    """
    pruned = copy.deepcopy(network)
    apply(pruned, masks)
    return _squared_norm(pruned, masks, batch) / _squared_norm(network, all_kept(network), batch)


def _squared_norm(network: nn.Module, masks: Masks, batch: Batch) -> float:
    gradients: dict[str, Tensor] = summed_gradients(network, [batch], partial(loss, CrossEntropy()), training=True)
    return sum(float((gradients[name].double() ** 2)[mask].sum()) for name, mask in masks.items())
