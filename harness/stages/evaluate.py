"""Stage `evaluate`: what a network gets right, and what it weighs.

Lives here: the stage. Must not: tables (`harness.leaderboard`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.context import Context
from harness.spec import Json, Stage, added_field
from harness.stages.prepare import Prepare

if TYPE_CHECKING:
    from torch import nn

    from harness.data.prepared import Prepared


@dataclass(frozen=True, kw_only=True)
class Evaluate(Stage):
    """Counts hits over every image of a split exactly once, at any number of ranks, on clean centre crops."""

    ranks: ClassVar[str] = "all"

    network: Stage
    data: Prepare
    size: int
    """Side of the crop in pixels."""
    resize_ratio: float = 1.0
    """Crop side over shorter image side: 224/256 is the usual ImageNet protocol, 1 the whole centre square."""
    split: Literal["val"] = "val"
    batch: int = 100
    flip: bool = added_field(default=False, neutral=False)
    """Test-time augmentation: the mean of the logits of an image and of its mirror image."""

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.cost import macs, nonzeros, parameters
        from harness.data.prepared import Prepared
        from harness.network import read_network
        from harness.pruning.mask import prunable, zeros

        prepared = Prepared(inputs[self.data.key])
        network = read_network(inputs[self.network.key], self.size)
        removed, weights = zeros(network), sum(weight.numel() for weight in prunable(network).values())
        costs = {
            "parameters": parameters(network),
            "nonzeros": nonzeros(network),
            "macs": macs(network, self.size),
            "sparsity": round(removed / weights, 8),
        }
        facts = prepared.facts
        return {
            **self._count(network, prepared, context),
            **costs,
            "seed": getattr(self.network, "seed", None),
            "dataset": facts.name,
            "fingerprint": facts.fingerprint,
        }

    def _count(self, network: "nn.Module", prepared: "Prepared", context: Context) -> dict[str, Json]:
        import torch

        from harness.engine.group import sum_over_ranks
        from harness.errors import StageError
        from harness.metrics import correct
        from harness.network import place

        place(network, context.device, channels_last=True).eval()
        counts = torch.zeros(3, dtype=torch.int64, device=context.device)
        with torch.inference_mode():
            for batch in prepared.eval_stream(self.split, self.size, self.resize_ratio, self.batch, context):
                logits = network(batch.images)
                if self.flip:
                    logits = (logits + network(batch.images.flip(3))) / 2
                hits = correct(logits, batch.labels, (1, 5))
                counts += torch.cat([hits, hits.new_tensor([len(batch.labels)])])
        hits1, hits5, n = sum_over_ranks(counts)
        expected = prepared.facts.images[self.split]
        if n != expected:
            raise StageError(f"{n} images were evaluated, {self.split} of {prepared.facts.name} holds {expected}")
        return {"n": n, "hits1": hits1, "hits5": hits5}
