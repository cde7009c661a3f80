"""Pruning while training goes on.

Lives here: `Gradual`, when weights go and how many. Must not: which ones (`harness.criteria`, `harness.pruning`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from harness.engine.average import Average
from harness.engine.engine import Engine
from harness.engine.group import same_on_all_ranks
from harness.pruning.mask import Masks, hold, masks_of


@dataclass(frozen=True)
class Gradual:
    """Between the updates `begin` and `end` the sparsity rises along a cubic curve, every `every` updates.

    s(t) = s + (s0 - s) (1 - (t - begin) / (end - begin))^3 from the sparsity s0 the network starts with (Zhu & Gupta,
    2017, equation 1). `masks(sparsity)` chooses what goes.
    """

    network: nn.Module
    masks: Callable[[float], Masks]
    initial: float
    sparsity: float
    begin: int
    end: int
    every: int

    def due(self, update: int) -> bool:
        """Whether weights go before this update, counted from 0."""
        return (self.begin <= update < self.end and (update - self.begin) % self.every == 0) or update == self.end

    def sparsity_at(self, update: int) -> float:
        """The share of all prunable weights that is gone after the removal before this update."""
        left = 1 - (update - self.begin) / (self.end - self.begin)
        return self.sparsity + (self.initial - self.sparsity) * left**3


class Pruner:
    """Carries out a `Gradual` plan on a network in training."""

    def __init__(self, plan: Gradual, engine: Engine, average: Average | None) -> None:
        self._plan, self._engine, self._average = plan, engine, average
        self._holds = hold(plan.network, masks_of(plan.network))

    def before(self, update: int) -> None:
        """Remove what is due before this update."""
        sparsity = self._plan.sparsity_at(update) if self._plan.due(update) else 0.0
        if sparsity <= 0:  # the curve begins at what is gone already
            return
        masks = self._plan.masks(sparsity)
        same_on_all_ranks(masks.values())
        self._engine.remove(masks)
        if self._average is not None:
            _zero(self._average.parameters, masks)
        for handle in self._holds:
            handle.remove()
        self._holds = hold(self._plan.network, masks)


def _zero(tensors: dict[str, Tensor], masks: Masks) -> None:
    for name, mask in masks.items():
        tensors[name].masked_fill_(~mask, 0.0)
