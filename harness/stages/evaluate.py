"""Stage `evaluate`: what a network gets right, how sure it is of it, and what it weighs.

Lives here: the stage. Must not: tables (`harness.leaderboard`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.choices import require_choices
from harness.context import Context
from harness.errors import UserError
from harness.spec import Json, Stage, added_field
from harness.stages.prepare import Prepare
from harness.stages.teacher_outputs import TeacherOutputs

if TYPE_CHECKING:
    from torch import nn

    from harness.data.prepared import Prepared


@dataclass(frozen=True, kw_only=True)
class Evaluate(Stage):
    """Sees every image of a split exactly once, at any number of ranks, on clean centre crops."""

    version: ClassVar[int] = 2  # tells confidence and calibration too
    ranks: ClassVar[str] = "all"
    short: ClassVar[bool] = True

    network: Stage
    data: Prepare
    size: int
    """Side of the crop in pixels."""
    resize_ratio: float = 1.0
    """Crop side over shorter image side: 224/256 is the usual ImageNet protocol, 1 the whole centre square."""
    split: Literal["train", "minival", "val"] = "val"
    batch: int = 100
    flip: bool = added_field(default=False, neutral=False)
    """Test-time augmentation: the mean of the logits of an image and of its mirror image."""
    teacher: Stage | None = added_field(default=None, neutral=None)
    """Counts on how many images the network guesses what this one guesses."""

    def __post_init__(self) -> None:
        require_choices(self)
        if isinstance(self.teacher, TeacherOutputs):
            raise UserError("stored outputs are of training images: give the teacher itself")

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.cost import macs, nonzeros, parameters
        from harness.data.prepared import Prepared
        from harness.network import place, read_network
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
        teacher = None
        if self.teacher is not None:
            teacher = place(read_network(inputs[self.teacher.key], self.size), context.device, channels_last=True)
        place(network, context.device, channels_last=True)
        return {
            **self._seen(network.eval(), teacher.eval() if teacher else None, prepared, context),
            **costs,
            "seed": getattr(self.network, "seed", None),
            "epoch_rule": epoch_rule(self.network),
            "split": self.split,
            "dataset": prepared.facts.name,
            "fingerprint": prepared.facts.fingerprint,
        }

    def _seen(
        self, network: "nn.Module", teacher: "nn.Module | None", prepared: "Prepared", context: Context
    ) -> dict[str, Json]:
        import torch

        from harness.engine.group import add_over_ranks
        from harness.errors import StageError
        from harness.predictions import predictions
        from harness.tally import Tally

        tally, agreed = Tally(context.device), torch.zeros(1, dtype=torch.int64, device=context.device)
        seen = predictions(
            network,
            prepared,
            self.split,
            context,
            size=self.size,
            resize_ratio=self.resize_ratio,
            batch=self.batch,
            flip=self.flip,
        )
        for logits, batch in seen:
            tally.see(logits, batch.labels)
            if teacher is not None:
                with torch.inference_mode():
                    agreed += (teacher(batch.images).argmax(1) == logits.argmax(1)).sum()
        for totals in (tally.counts, tally.sums, agreed):
            add_over_ranks(totals)
        found = tally.summary()
        expected = prepared.facts.images[self.split]
        if found["n"] != expected:
            raise StageError(
                f"{found['n']} images were evaluated, {self.split} of {prepared.facts.name} holds {expected}"
            )
        return {**found, "agreed": int(agreed) if teacher is not None else None}


def epoch_rule(network: Stage) -> str:
    """Which epoch of its training a network is; that of the one it was made of, if it was not trained itself."""
    while (recipe := getattr(network, "recipe", None)) is None:
        if not isinstance(origin := getattr(network, "network", None), Stage):
            return "published"
        network = origin
    return str(recipe.epoch_rule)
