"""Stage `prune`: weights out of a trained network, then training on with what remains.

Lives here: the stage. Must not: criteria, thresholds, masks (`harness.criteria`, `harness.pruning`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.contracts import Criterion
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare


@dataclass(frozen=True, kw_only=True)
class Prune(Stage):
    """Global unstructured pruning up to `sparsity` in all, then `recipe` from its first learning rate on.

    On a dense network this is one-shot; on a pruned one it is the next round of LR rewinding: the weights stay,
    the schedule starts again (Renda et al., ICLR 2020).
    """

    version: ClassVar[int] = 2  # running statistics move once a step, not once a micro-batch
    ranks: ClassVar[str] = "all"

    network: Stage
    criterion: Criterion
    sparsity: float
    """Share of all prunable weights that is zero afterwards, earlier rounds included."""
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.network import read_architecture, read_network
        from harness.objective import CrossEntropy
        from harness.pruning.mask import apply, masks_of
        from harness.pruning.threshold import global_masks
        from harness.stages._fit import fit

        torch.manual_seed(self.seed)
        folder = inputs[self.network.key]
        network = read_network(folder, self.recipe.augment.size)
        objective = CrossEntropy(self.recipe.label_smoothing)
        scores = self.criterion.score(network, (), objective)
        apply(network, global_masks(scores, self.sparsity, masks_of(network)))
        return fit(self, read_architecture(folder), network, objective, inputs, context)


def lr_rewinding(
    network: Stage, *, rounds: int, criterion: Criterion, data: Prepare, recipe: Recipe, seed: int = 0
) -> list[Prune]:
    """The rounds of LR rewinding on a dense network, each a stage: a round removes a fifth of what remains.

    So 2, 4 and 7 rounds reach 36, 59.04 and 79.03 %, and every prefix is shared (No & Park, ECCV 2022).
    """
    done: list[Prune] = []
    for number in range(1, rounds + 1):
        sparsity = round(1 - 0.8**number, 10)
        last = done[-1] if done else network
        done.append(Prune(network=last, criterion=criterion, sparsity=sparsity, data=data, recipe=recipe, seed=seed))
    return done
