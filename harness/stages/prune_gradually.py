"""Stage `prune_gradually`: weights go while training runs.

Lives here: the stage. Must not: when they go (`harness.gradual`), which (`harness.criteria`, `harness.pruning`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.choices import require_choices
from harness.context import Context
from harness.contracts import Criterion, Model
from harness.errors import UserError
from harness.pruning.scope import Scope, n_of_m, require_sparsity
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare


@dataclass(frozen=True, kw_only=True)
class PruneGradually(Stage):
    """One run of `recipe` on which the sparsity rises along a cubic curve (Zhu & Gupta, 2017), from a network that is
    trained or fresh."""

    ranks: ClassVar[str] = "all"

    network: Stage | Model
    criterion: Criterion
    sparsity: float
    data: Prepare
    recipe: Recipe
    scope: Scope = "global"
    begin: float = 0.0
    """Share of the run's updates after which weights begin to go."""
    end: float = 0.75
    """Share after which all are gone that will."""
    every: int = 100
    """Updates from one removal to the next."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_choices(self)
        require_sparsity(self.sparsity, self.scope)
        if not 0 <= self.begin < self.end < 1 or self.every < 1:
            raise UserError(f"weights cannot go from {self.begin} to {self.end} of a run, every {self.every} updates")
        if n_of_m(self.scope):
            raise UserError(f"scope {self.scope!r} has one sparsity only, so nothing can rise to it: use `prune`")
        if self.recipe.keep == "best":
            raise UserError("the best epoch may be one that was less sparse: keep must be 'last'")

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.data.prepared import Prepared
        from harness.gradual import Gradual
        from harness.network import place
        from harness.objective import CrossEntropy
        from harness.pruning.allocation import allocated_masks
        from harness.pruning.mask import Masks, prunable
        from harness.stages._fit import architecture_of, fit, starting_masks, starting_network
        from harness.stages._scoring import ScoringBatches

        torch.manual_seed(self.seed)
        network = starting_network(self.network, inputs, self.recipe.augment.size)
        place(network, context.device, channels_last=self.recipe.channels_last)  # masks lie where the weights do
        start = starting_masks(self.network, network)
        allocated_masks({n: w.detach().abs() for n, w in prunable(network).items()}, self.sparsity, self.scope, start)
        objective = CrossEntropy(self.recipe.label_smoothing)
        updates = Prepared(inputs[self.data.key]).facts.images["train"] // self.recipe.global_batch
        begin, end = (self._update(share, updates) for share in (self.begin, self.end))
        if end <= begin:
            raise UserError(f"a run of {updates} updates an epoch is too short for a sparsity that rises: train longer")
        scored = 0

        def choose(sparsity: float, masks: Masks, update: int) -> Masks:
            nonlocal scored
            with ScoringBatches(self, self.recipe, inputs, context, first=update // updates) as batches:
                scores = self.criterion.score(network, batches, objective)
            scored += batches.images
            return allocated_masks(scores, sparsity, self.scope, masks)

        plan = Gradual(network, start, choose, self.sparsity, begin, end, self.every)
        architecture = architecture_of(self.network, inputs)
        payload = fit(self, architecture, network, objective, inputs, context, masks=start, gradual=plan)
        if payload:
            payload["image_passes"] += scored
        return payload

    def _update(self, share: float, updates: int) -> int:
        """The update before which a share of the run is over, counted from epoch 0 of the schedule."""
        first, end = self.recipe.first_epoch * updates, self.recipe.end * updates
        return min(first + round(share * (end - first)), end - 1)
