"""Stage `train`: a network from its beginning on labels alone.

Lives here: the stage. Must not: the loop (`harness.loop`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.contracts import Model
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare
from harness.stages.prune_channels_early import PruneChannelsEarly
from harness.stages.prune_early import PruneEarly
from harness.stages.student import Student


@dataclass(frozen=True, kw_only=True)
class Train(Stage):
    """A dense network, initialised and trained under `seed`, or what early pruning has left of one.

    The recipe says which epoch is kept.
    """

    version: ClassVar[int] = 2  # running statistics move once a step, not once a micro-batch
    ranks: ClassVar[str] = "all"

    network: Model | Student | PruneEarly | PruneChannelsEarly
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.objective import CrossEntropy
        from harness.stages._fit import architecture_of, fit, starting_masks, starting_network

        torch.manual_seed(self.seed)
        architecture = architecture_of(self.network, inputs)
        network = starting_network(self.network, inputs, self.recipe.augment.size)
        objective, masks = CrossEntropy(self.recipe.label_smoothing), starting_masks(self.network, network)
        return fit(self, architecture, network, objective, inputs, context, masks=masks)
