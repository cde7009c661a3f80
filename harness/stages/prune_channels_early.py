"""Stage `prune_channels_early`: whole channels out of a network before it is trained at all.

Lives here: the stage. Must not: the dependency graph (`harness.pruning.channel`), the search for how many go
(`harness.pruning.channel_search`), criteria, the training that follows (`train` and `self_distill`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.choices import require_choices
from harness.context import Context
from harness.contracts import Criterion, Model, SelfDistillation, Sensitive
from harness.data.augment import Augment
from harness.pruning.reduction import ChannelScope, CountedMeasure, require_reduction
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare
from harness.stages.prune_early import require_memory_kept

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.stages._counted import CountedImages


@dataclass(frozen=True, kw_only=True)
class PruneChannelsEarly(Stage):
    """A fresh network, drawn under `seed`, without the channels of which `criterion` thinks least: really smaller.

    A channel's score is |dL/dm| for an m that multiplies the channel wherever it is read, as ProsPr's authors do it for
    whole channels (Alizadeh et al., ICLR 2022); for a criterion that has no such derivative it is the sum of the scores
    of all weights that read it. With `ProsPr` and the loss of the self-distillation that follows this is a structured
    EPSD. The channels that stay keep their weights, and nothing is trained.
    """

    ranks: ClassVar[str] = "all"

    network: Model
    criterion: Criterion
    reduction: float
    """Share of the measure that goes: 0.5 of the MACs."""
    measure: CountedMeasure = "macs"
    scope: ChannelScope = "global"
    round_to: int = 1
    """Every group of coupled layers that has as many channels keeps a multiple of this."""
    method: SelfDistillation | None = None
    """By whose loss weights are scored; None: by the cross-entropy with the labels."""
    data: Prepare
    augment: Augment
    batch: int = 128
    """Images that weights are scored on at a time."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_choices(self)
        require_reduction(self.reduction, self.round_to)
        require_memory_kept(self.method, self.criterion)

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.network import Architecture, place
        from harness.pruning.channel import replay
        from harness.pruning.mask import all_kept
        from harness.stages._counted import CountedImages
        from harness.stages._decided import decided_channels
        from harness.stages._fit import publish_network

        torch.manual_seed(self.seed)
        size = self.augment.size
        network = place(self.network.build(), context.device, channels_last=False)
        example = torch.zeros(1, 3, size, size, device=context.device)
        with CountedImages(network) as counted:
            choice = decided_channels(lambda: self._choose(network, example, counted, inputs, context), context)
        context.journal.write("reduced", measure=self.measure, wanted=self.reduction, reached=choice["reached"])
        if not context.topology.leads:
            return {}
        replay(network, choice["record"], example)
        architecture = Architecture(self.network, choice["record"])
        publish_network(architecture, network, context.folder, all_kept(network), size)
        return {"reached": choice["reached"], "seed": self.seed, "image_passes": choice["images"]}

    def _choose(
        self,
        network: "nn.Module",
        example: "Tensor",
        counted: "CountedImages",
        inputs: Mapping[str, Path],
        context: Context,
    ) -> dict[str, Json]:
        """The record, the reductions reached, and how many images went through the network for it."""
        from harness.pruning.channel_search import choose_channels

        scores, images = self._scores(network, example, inputs, context), counted.images
        record, reached = choose_channels(
            network, example, scores, self.reduction, measure=self.measure, scope=self.scope, round_to=self.round_to
        )
        return {"record": record, "reached": reached, "images": images}

    def _scores(
        self, network: "nn.Module", example: "Tensor", inputs: Mapping[str, Path], context: Context
    ) -> "dict[str, Tensor]":
        from harness.pruning.channel import sum_by_channel
        from harness.stages._scoring import early_batches, scoring_objective

        objective = scoring_objective(self, network, inputs, context)
        with early_batches(self, inputs, context, objective.mates) as batches:
            if not isinstance(self.criterion, Sensitive):
                return sum_by_channel(network, example, self.criterion.score(network, batches, objective))
            found = sum_by_channel(network, example, self.criterion.sensitivities(network, batches, objective))
        return {layer: derivatives.abs() for layer, derivatives in found.items()}
