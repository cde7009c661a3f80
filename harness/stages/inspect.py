"""Stage `inspect`: what a network is like inside: how dense its layers are, and how compact its features.

Lives here: the stage. Must not: the sums (`harness.compactness`), accuracy (`evaluate`), figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.choices import require_choices
from harness.context import Context
from harness.errors import StageError, UserError
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare

if TYPE_CHECKING:
    from torch import nn

    from harness.data.prepared import Prepared


@dataclass(frozen=True, kw_only=True)
class Inspect(Stage):
    """Sees every image of a split exactly once, at any number of ranks, on clean centre crops.

    The features are what the network's last linear layer reads.
    """

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

    def __post_init__(self) -> None:
        require_choices(self)

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.data.prepared import Prepared
        from harness.network import place, read_network
        from harness.pruning.mask import kept, masks_of

        network = read_network(inputs[self.network.key], self.size)
        masks = masks_of(network)
        place(network, context.device, channels_last=True)
        return {
            # a list, for the manifest sorts what it names, and layers have an order
            "layers": [[name, count, masks[name].numel()] for name, count in kept(masks).items()],
            **self._compactness(network.eval(), Prepared(inputs[self.data.key]), context),
        }

    def _compactness(self, network: "nn.Module", prepared: "Prepared", context: Context) -> dict[str, float | None]:
        from torch import Tensor, nn

        from harness.compactness import Compactness
        from harness.engine.group import add_over_ranks
        from harness.predictions import predictions

        last, read = last_linear(network), dict[str, Tensor]()

        def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            read["features"] = arguments[0]

        found = Compactness(prepared.facts.classes, last.in_features, context.device)
        last.register_forward_pre_hook(keep)
        seen = predictions(
            network,
            prepared,
            self.split,
            context,
            size=self.size,
            resize_ratio=self.resize_ratio,
            batch=self.batch,
        )
        for logits, batch in seen:
            features = read.pop("features", logits[:0])  # none if it was not run
            if features.shape != (len(logits), last.in_features):
                raise UserError("the network's last linear layer does not read one feature vector of each image")
            found.see(features, batch.labels)
        for totals in (found.counts, found.sums, found.squares):
            add_over_ranks(totals)
        n, expected = int(found.counts.sum()), prepared.facts.images[self.split]
        if n != expected:
            raise StageError(f"{n} images were inspected, {self.split} of {prepared.facts.name} holds {expected}")
        return found.summary()


def last_linear(network: "nn.Module") -> "nn.Linear":
    """In module order. Raises UserError if the network has no linear layer."""
    from torch import nn

    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise UserError("the network has no linear layer, whose features could be inspected: leave `inspect` out")
    return layers[-1]
