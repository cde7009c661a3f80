"""Two networks looking at the same images.

Lives here: `paired_predictions`. Must not: what is made of them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.context import Context
from harness.data.prepared import Prepared
from harness.network import place, read_network
from harness.predictions import predictions
from harness.spec import Stage
from harness.stages.prepare import Prepare


class Crops(Protocol):
    """A stage that says how it looks at images."""

    @property
    def data(self) -> Prepare: ...
    @property
    def size(self) -> int: ...
    @property
    def resize_ratio(self) -> float: ...
    @property
    def batch(self) -> int: ...


def paired_predictions(
    stage: Crops, first: Stage, second: Stage, inputs: Mapping[str, Path], context: Context, split: str = "train"
) -> Iterator[tuple[Tensor, Tensor, Batch]]:
    """Logits (n, classes) of both networks for this rank's share of the split."""
    one, other = (_ready(inputs[network.key], stage.size, context) for network in (first, second))
    prepared = Prepared(inputs[stage.data.key])
    seen = predictions(
        one, prepared, split, context, size=stage.size, resize_ratio=stage.resize_ratio, batch=stage.batch
    )
    for logits, batch in seen:
        with torch.inference_mode():
            theirs = other(batch.images).float()
        yield logits, theirs, batch


def _ready(folder: Path, size: int, context: Context) -> nn.Module:
    return place(read_network(folder, size), context.device, channels_last=True).eval()
