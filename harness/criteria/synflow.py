"""SynFlow: weights that carry little of the flow from inputs to outputs matter least.

Lives here: the criterion `SynFlow`. Must not: rounds of pruning (`harness.stages`), thresholds and masks
(`harness.pruning`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.criteria._batches import take
from harness.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.contracts import Objective


@dataclass(frozen=True, kw_only=True)
class SynFlow:
    """|w dR/dw|, R the sum of the outputs for one image of ones (Tanaka et al., NeurIPS 2020).

    R is taken from the network in which every parameter and every buffer, BatchNorm's statistics too, is its absolute
    value, in evaluation mode, as in the authors' code. It is computed in float64, for R grows exponentially with depth,
    and the scores are then divided by the largest: only their order counts. Made to be scored again after every
    removal of a little: scored once at a high sparsity it empties whole layers.
    """

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective") -> "dict[str, Tensor]":
        """A score per prunable weight, in its shape, between 0 and 1; the lowest go first. Needs no `objective`.

        Of `batches` it takes one, for the shape of an image. Raises StageError if there is none, or if nothing of the
        image reaches the outputs.
        """
        import torch
        from torch.func import functional_call

        from harness.gradients import in_mode
        from harness.pruning.mask import prunable

        (batch,) = take(batches, 1)
        image = torch.ones_like(batch.images[:1], dtype=torch.float64)
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        state = {name: t.detach().double().abs() for name, t in tensors.items() if t.is_floating_point()}
        weights = {name: state[name].requires_grad_() for name in prunable(model)}
        with in_mode(model, training=False), torch.enable_grad():
            flow = functional_call(model, state, (image,)).sum()
            flows = torch.autograd.grad(flow, list(weights.values()), materialize_grads=True)
        scores = {name: weight.detach() * flow for (name, weight), flow in zip(weights.items(), flows, strict=True)}
        largest = max(float(score.max()) for score in scores.values())
        if largest == 0:
            raise StageError("no flow reaches the outputs, so SynFlow cannot tell weights apart: is a layer all zeros?")
        return {name: (score / largest).float() for name, score in scores.items()}
