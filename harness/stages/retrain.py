"""Stage `retrain`: a trained network trained on, its schedule from the beginning.

Lives here: the stage, and chains of it. Must not: changes of the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare


@dataclass(frozen=True, kw_only=True)
class Retrain(Stage):
    """A round of LR rewinding that removes nothing: the control for what the rounds do by training alone."""

    ranks: ClassVar[str] = "all"

    network: Stage
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.network import read_architecture, read_network
        from harness.objective import CrossEntropy
        from harness.pruning.mask import masks_of
        from harness.stages._fit import fit

        torch.manual_seed(self.seed)
        folder = inputs[self.network.key]
        network = read_network(folder, self.recipe.augment.size)
        objective = CrossEntropy(self.recipe.label_smoothing)
        masks = masks_of(network)
        return fit(self, read_architecture(folder), network, objective, inputs, context, masks=masks)


def retrained(network: Stage, *, rounds: int, data: Prepare, recipe: Recipe, seed: int = 0) -> Stage:
    """The network after as many rounds as a pruned one has had, dense."""
    for _ in range(rounds):
        network = Retrain(network=network, data=data, recipe=recipe, seed=seed)
    return network
