"""SNIP: connections that the loss is not sensitive to matter least.

Lives here: the criterion `Snip`. Must not: thresholds and masks (`harness.pruning`).
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
class Snip:
    """|dL/dm| at m = 1, divided by its sum over all weights (Lee et al., ICLR 2019).

    m multiplies the weight, so dL/dm = w dL/dw; L is the mean loss of the batches. For a network at its initialisation,
    whose running statistics mean nothing yet: it runs in training mode. The authors draw other weights for scoring than
    for training; here those that are trained are scored.
    """

    batches: int = 1
    """Training batches to look at; the authors take one, of 100 images or so."""

    def __post_init__(self) -> None:
        require_positive(self.batches)

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective") -> "dict[str, Tensor]":
        """A score per prunable weight, in its shape; the lowest go first, and all sum to 1.

        Raises StageError without a batch, or if the loss depends on no weight.
        """
        from harness.criteria._sensitivity import sizes

        return sizes(self.sensitivities(model, batches, objective))

    def sensitivities(
        self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective"
    ) -> "dict[str, Tensor]":
        """dL/dm for every prunable weight, in its shape; L the sum of the batches' losses."""
        from harness.criteria._sensitivity import derivatives
        from harness.gradients import summed_gradients
        from harness.objective import loss
        from harness.pruning.mask import prunable

        gradients = summed_gradients(model, take(batches, self.batches), partial(loss, objective), training=True)
        return derivatives(prunable(model), gradients)
