"""Stage `prune_channels`: whole channels out of a trained network, then training on with the smaller one.

Lives here: the stage. Must not: the dependency graph (`harness.pruning.channel`), the search for how many go
(`harness.pruning.channel_search`).
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.choices import require_choices
from harness.context import Context
from harness.pruning.reduction import ChannelScope, Importance, Measure, require_reduction
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.contracts import Objective

SCORING_BATCHES = 10
"""Training batches whose gradients `taylor` adds up."""


@dataclass(frozen=True, kw_only=True)
class PruneChannels(Stage):
    """Removes the least important channels until `reduction` of the `measure` is gone, within 1 % of the dense network.

    What was removed is kept as a replayable record. Latency is that of one image in fp32 on the device the stage runs
    on, rank 0's counting.
    """

    version: ClassVar[int] = 3  # a reduction of what `measure` says, reached within 1 %
    ranks: ClassVar[str] = "all"

    network: Stage
    reduction: float
    """Share of the measure that goes: 0.5 of the MACs."""
    measure: Measure = "channels"
    importance: Importance = "magnitude"
    scope: ChannelScope = "layer"
    round_to: int = 1
    """Every group of coupled layers that has as many channels keeps a multiple of this."""
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def __post_init__(self) -> None:
        require_choices(self)
        require_reduction(self.reduction, self.round_to)

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.engine.group import from_rank_0
        from harness.errors import UserError
        from harness.network import Architecture, place, read_architecture, read_network
        from harness.objective import CrossEntropy
        from harness.pruning.channel import replay
        from harness.pruning.channel_search import choose_channels
        from harness.stages._fit import fit

        torch.manual_seed(self.seed)
        folder, size = inputs[self.network.key], self.recipe.augment.size
        dense = read_architecture(folder)
        if dense.channels is not None:
            raise UserError(
                f"{self.network.name} {self.network.key[:12]} has lost channels already: prune the dense network"
            )
        network = place(read_network(folder, size), context.device, channels_last=False)
        example = torch.zeros(1, 3, size, size, device=context.device)
        objective = CrossEntropy(self.recipe.label_smoothing)
        scores = self._scores(network, example, objective, inputs, context)
        chosen = choose_channels(
            network, example, scores, self.reduction, measure=self.measure, scope=self.scope, round_to=self.round_to
        )
        # Every rank has chosen, for none may wait long; but clocks and GPUs differ, so what rank 0 has chosen counts.
        record, reached = from_rank_0(chosen)
        context.journal.write("reduced", measure=self.measure, wanted=self.reduction, reached=reached)
        replay(network, record, example)
        return {**fit(self, Architecture(dense.model, record), network, objective, inputs, context), "reached": reached}

    def _scores(
        self,
        network: "nn.Module",
        example: "Tensor",
        objective: "Objective",
        inputs: Mapping[str, Path],
        context: Context,
    ) -> "dict[str, Tensor]":
        """The channels' scores; gradients are gone again afterwards."""
        from harness.pruning.channel import score_channels
        from harness.pruning.loss_gradients import add_loss_gradients
        from harness.stages._scoring import scoring_batches

        if self.importance == "taylor":
            with closing(scoring_batches(self, inputs, context)) as batches:
                add_loss_gradients(network, islice(batches, SCORING_BATCHES), objective)
        scores = score_channels(network, example, self.importance)
        network.zero_grad(set_to_none=True)
        return scores
