"""Random: any weight may go.

Lives here: the criterion `Random`. Must not: thresholds and masks (`harness.pruning`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.contracts import Objective


@dataclass(frozen=True, kw_only=True)
class Random:
    """A uniform draw from [0, 1) for each weight: the baseline every criterion has to beat.

    The draws come from torch's global generator of the CPU, wherever the network is: one seed, one mask.
    """

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective") -> "dict[str, Tensor]":
        """A score per prunable weight, in its shape; the lowest go first. Needs neither `batches` nor `objective`."""
        import torch

        from harness.pruning.mask import prunable

        return {name: torch.rand(weight.shape).to(weight.device) for name, weight in prunable(model).items()}
