"""Stage `prune_channels_early`: whole channels out of a network before it is trained at all.

Lives here: the stage. Must not: the dependency graph (`harness.pruning.channel`), the search for how many go
(`harness.pruning.channel_search`), criteria, the training that follows (`train` and `self_distill`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.choices import require_choices, require_share
from harness.context import Context
from harness.contracts import Criterion, Model, SelfDistillation, Sensitive
from harness.data.augment import Augment
from harness.pruning.reduction import ChannelScope, CountedMeasure, require_reduction
from harness.spec import Json, Stage, added_field
from harness.stages.prepare import Prepare
from harness.stages.prune_early import require_memory_kept

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class PruneChannelsEarly(Stage):
    """A fresh network, drawn under `seed`, without the channels of which `criterion` thinks least: really smaller.

    A channel's score is |dL/dm| for an m that multiplies the channel wherever it is read, as ProsPr's authors do it for
    whole channels (Alizadeh et al., ICLR 2022); for a criterion that has no such derivative it is the sum of the scores
    of all weights that read it. With `ProsPr` and the loss of the self-distillation that follows this is a structured
    EPSD. The channels that stay keep their weights, and nothing is trained.
    """

    short: ClassVar[bool] = True

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
    alpha_at_score: float = added_field(default=0.8, neutral=0.8)
    """What weights are scored with in the place of PS-KD's `alpha`, whole from the first step on."""
    data: Prepare
    augment: Augment
    batch: int = 128
    """Images that weights are scored on at a time."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_choices(self)
        require_share(self, "alpha_at_score")
        require_reduction(self.reduction, self.round_to)
        require_memory_kept(self.method, self.criterion)

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.network import Architecture, place
        from harness.pruning.channel import replay
        from harness.pruning.channel_search import choose_channels
        from harness.pruning.mask import all_kept
        from harness.stages._publish import publish_network

        torch.manual_seed(self.seed)
        size = self.augment.size
        network = place(self.network.build(), context.device, channels_last=False)
        example = torch.zeros(1, 3, size, size, device=context.device)
        scores, images = self._scores(network, example, inputs, context)
        record, reached = choose_channels(
            network, example, scores, self.reduction, measure=self.measure, scope=self.scope, round_to=self.round_to
        )
        context.journal.write("reduced", measure=self.measure, wanted=self.reduction, reached=reached)
        replay(network, record, example)
        publish_network(Architecture(self.network, record), network, context.folder, all_kept(network), size)
        return {"reached": reached, "seed": self.seed, "image_passes": images}

    def _scores(
        self, network: "nn.Module", example: "Tensor", inputs: Mapping[str, Path], context: Context
    ) -> "tuple[dict[str, Tensor], int]":
        """The score of every channel, and how many images went through the network for it, which is left as it is."""
        from harness.pruning.channel import sum_by_channel
        from harness.stages._counted import CountedImages
        from harness.stages._scoring import early_batches, scored

        subject, objective = scored(self, network, inputs, context)
        with CountedImages(subject) as counted, early_batches(self, inputs, context, objective.mates) as batches:
            if isinstance(self.criterion, Sensitive):
                found = self.criterion.sensitivities(subject, batches, objective)
                scores = {layer: sums.abs() for layer, sums in sum_by_channel(network, example, found).items()}
            else:
                scores = sum_by_channel(network, example, self.criterion.score(subject, batches, objective))
        return scores, counted.images
