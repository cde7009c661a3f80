"""Pruning while training goes on.

Lives here: `Gradual`, when weights go and how many. Must not: which ones (`harness.criteria`, `harness.pruning`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from harness.engine.average import Average
from harness.engine.engine import Engine
from harness.engine.group import same_on_all_ranks
from harness.pruning.mask import Masks, hold, kept, zero


@dataclass(frozen=True)
class Gradual:
    """Between the updates `begin` and `end` the sparsity rises along a cubic curve, every `every` updates.

    s(t) = s + (s0 - s) (1 - (t - begin) / (end - begin))^3 from the sparsity s0 of the masks at the start (Zhu & Gupta,
    2017, equation 1). `choose(sparsity, masks, update)` says what is gone then, what `masks` removed included.
    """

    network: nn.Module
    start: Masks
    choose: Callable[[float, Masks, int], Masks]
    sparsity: float
    begin: int
    end: int
    every: int

    @property
    def initial(self) -> float:
        """The share of all prunable weights that is gone at the start."""
        return 1 - sum(kept(self.start).values()) / sum(mask.numel() for mask in self.start.values())

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
        self.masks: Masks = {name: mask.clone() for name, mask in plan.start.items()}
        """What is left; a checkpoint holds it."""
        self._holds = hold(plan.network, self.masks)

    def hold(self) -> None:
        """Keep what `masks` says is gone at zero from now on."""
        for handle in self._holds:
            handle.remove()
        self._holds = hold(self._plan.network, self.masks)

    def before(self, update: int) -> None:
        """Remove what is due before this update."""
        sparsity = self._plan.sparsity_at(update) if self._plan.due(update) else 0.0
        if sparsity <= self._plan.initial:  # the curve begins at what is gone already
            return
        self.masks = self._plan.choose(sparsity, self.masks, update)
        same_on_all_ranks(self.masks.values())
        self._engine.remove(self.masks)
        if self._average is not None:
            zero(self._average.parameters, self.masks)
        self.hold()
