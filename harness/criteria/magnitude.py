"""Magnitude: small weights matter least.

Lives here: the criterion `Magnitude`. Must not: thresholds and masks (`harness.pruning`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.contracts import Objective


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """|w| (Han et al., NeurIPS 2015)."""

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective") -> "dict[str, Tensor]":
        """A score per prunable weight, in its shape; the lowest go first. Needs neither `batches` nor `objective`."""
        from harness.pruning.mask import prunable

        return {name: weight.detach().abs() for name, weight in prunable(model).items()}
