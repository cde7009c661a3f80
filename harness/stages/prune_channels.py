"""Stage `prune_channels`: whole channels out of a trained network, then training on with the smaller one.

Lives here: the stage. Must not: the dependency graph (`harness.pruning.channel`), the search for how many go
(`harness.pruning.channel_search`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.choices import require_choices
from harness.context import Context
from harness.errors import UserError
from harness.pruning.reduction import ChannelScope, Importance, Measure, require_reduction
from harness.recipe import Recipe
from harness.spec import Json, Stage, added_field
from harness.stages.prepare import Prepare

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.contracts import Objective
    from harness.network import Architecture


@dataclass(frozen=True, kw_only=True)
class PruneChannels(Stage):
    """Removes the least important channels until `reduction` of the `measure` is gone, as nearly as channels allow.

    That is within 1 % of the dense network unless one of them, or a multiple, is worth more than 2 %. What was removed
    is kept as a replayable record, and what was reached is reported. Latency is that of one image in fp32 on the device
    the stage runs on, rank 0's counting, and noisy.
    """

    version: ClassVar[int] = 3  # a reduction of what `measure` says
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
    scoring_batches: int = added_field(default=10, neutral=10)
    """Training batches, of `batch_per_gpu`, whose gradients `taylor` adds up."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_reduction(self.reduction, self.round_to)
        if self.scoring_batches < 1:
            raise UserError(f"scoring_batches {self.scoring_batches} are none: gradients need at least 1")

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.network import Architecture, place, read_architecture, read_network
        from harness.objective import CrossEntropy
        from harness.pruning.channel import replay
        from harness.pruning.mask import masks_of
        from harness.stages._decided import decided_channels
        from harness.stages._fit import fit

        torch.manual_seed(self.seed)
        folder, size = inputs[self.network.key], self.recipe.augment.size
        dense = read_architecture(folder)
        self._require_plain(dense)
        network = place(read_network(folder, size), context.device, channels_last=False)
        example = torch.zeros(1, 3, size, size, device=context.device)
        objective = CrossEntropy(self.recipe.label_smoothing)
        choice = decided_channels(lambda: self._choose(network, example, objective, inputs, context), context)
        record, reached = choice["record"], choice["reached"]
        context.journal.write("reduced", measure=self.measure, wanted=self.reduction, reached=reached)
        replay(network, record, example)
        masks = masks_of(network)
        payload = fit(self, Architecture(dense.model, record), network, objective, inputs, context, masks=masks)
        if payload:
            payload["reached"] = reached
            payload["image_passes"] += choice["images"]
        return payload

    def _require_plain(self, network: "Architecture") -> None:
        """Refuse what is no model as its spec builds it: a record is replayed on that."""
        name = f"{self.network.name} {self.network.key[:12]}"
        if network.channels is not None:
            raise UserError(f"{name} has lost channels already: prune the dense network")
        if network.softness is not None:
            raise UserError(f"{name} is softened, and would not stay so: prune the network it was made from")

    def _choose(
        self,
        network: "nn.Module",
        example: "Tensor",
        objective: "Objective",
        inputs: Mapping[str, Path],
        context: Context,
    ) -> dict[str, Json]:
        """The record, the reductions reached, and how many images were scored on; no gradients stay."""
        from harness.pruning.channel import score_channels
        from harness.pruning.channel_search import choose_channels
        from harness.pruning.loss_gradients import add_loss_gradients
        from harness.stages._scoring import ScoringBatches

        try:
            with ScoringBatches(self, self.recipe, inputs, context) as batches:
                if self.importance == "taylor":
                    add_loss_gradients(network, islice(batches, self.scoring_batches), objective)
            scores = score_channels(network, example, self.importance)
        finally:
            network.zero_grad(set_to_none=True)
        record, reached = choose_channels(
            network, example, scores, self.reduction, measure=self.measure, scope=self.scope, round_to=self.round_to
        )
        return {"record": record, "reached": reached, "images": batches.images}
