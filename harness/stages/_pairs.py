"""Two networks looking at the images that students are taught on.

Lives here: `paired_predictions`. Must not: what is made of them.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from harness.context import Context
from harness.data.augment import Augment
from harness.data.prepared import Prepared
from harness.network import place, read_network
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.prepare import Prepare
from harness.topology import Topology


class Meeting(Protocol):
    """A stage that says on which images teachers are compared."""

    @property
    def data(self) -> Prepare: ...
    @property
    def augment(self) -> Augment: ...
    @property
    def seed(self) -> int: ...
    @property
    def batch(self) -> int: ...


def paired_predictions(
    stage: Meeting, first: Stage, second: Stage, inputs: Mapping[str, Path], context: Context
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (batch, classes) of both networks on the first epoch of the stream that students of this seed meet.

    One rank sees all of it. The images of an incomplete last batch are left out.
    """
    size = stage.augment.size
    one, other = (_ready(inputs[network.key], size, context) for network in (first, second))
    recipe = Recipe(epochs=1, augment=stage.augment, global_batch=stage.batch, batch_per_gpu=stage.batch)
    alone = dataclasses.replace(context, topology=Topology())
    stream = Prepared(inputs[stage.data.key]).train_stream(recipe, stage.seed, alone)
    with torch.inference_mode(), closing(stream.epoch(0)) as batches:
        for batch in batches:
            yield one(batch.images).float(), other(batch.images).float()


def _ready(folder: Path, size: int, context: Context) -> nn.Module:
    return place(read_network(folder, size), context.device, channels_last=True).eval()
