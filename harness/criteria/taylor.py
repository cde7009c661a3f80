"""Taylor: weights whose removal changes the loss little matter least.

Lives here: the criterion `Taylor`. Must not: thresholds and masks (`harness.pruning`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness.criteria._batches import require_positive, take

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.contracts import Objective


@dataclass(frozen=True, kw_only=True)
class Taylor:
    """sqrt(sum over batches b of (w dL_b/dw)^2), L_b the mean loss of a batch (Molchanov et al., CVPR 2019).

    To first order (w dL_b/dw)^2 is the squared change of the loss when w becomes 0. It is squared batch by batch, as in
    the authors' code, since on a trained network the gradients of all batches together cancel; theirs are summed over
    a filter, here each weight stands alone. The root leaves the order as it is and keeps small scores from becoming 0.
    For a trained network: it runs in evaluation mode.
    """

    batches: int = 30
    """Training batches to look at; 30 is what the authors' ImageNet settings take for one round."""

    def __post_init__(self) -> None:
        require_positive(self.batches)

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective") -> "dict[str, Tensor]":
        """A score per prunable weight, in its shape; the lowest go first. Raises StageError without a batch."""
        import torch

        from harness.gradients import summed_gradients
        from harness.objective import loss
        from harness.pruning.mask import prunable

        weights = {name: weight.detach() for name, weight in prunable(model).items()}
        scores = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for batch in take(batches, self.batches):
            gradients = summed_gradients(model, [batch], partial(loss, objective), training=False)
            for name, weight in weights.items():
                scores[name] = torch.hypot(scores[name], weight * gradients[name])
        return scores
