"""Stage `prune_channels`: whole channels out of a trained network, then training on with the smaller one.

Lives here: the stage. Must not: the dependency graph (`harness.pruning.channel`).
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
class PruneChannels(Stage):
    """Removes `channel_sparsity` of the channels of every layer; what was removed is kept as a replayable record."""

    version: ClassVar[int] = 2  # running statistics move once a step, not once a micro-batch
    ranks: ClassVar[str] = "all"

    network: Stage
    channel_sparsity: float
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.errors import UserError
        from harness.network import Architecture, read_architecture, read_network
        from harness.objective import CrossEntropy
        from harness.pruning.channel import prune_channels
        from harness.stages._fit import fit

        torch.manual_seed(self.seed)
        folder, size = inputs[self.network.key], self.recipe.augment.size
        dense = read_architecture(folder)
        if dense.channels is not None:
            raise UserError(
                f"{self.network.name} {self.network.key[:12]} has lost channels already: prune the dense network"
            )
        network = read_network(folder, size)
        record = prune_channels(network, torch.zeros(1, 3, size, size), self.channel_sparsity)
        objective = CrossEntropy(self.recipe.label_smoothing)
        return fit(self, Architecture(dense.model, record), network, objective, inputs, context)
