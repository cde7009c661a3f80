"""The harness's training step on one batch that is always the same, so that no loader takes part.

Lives here: the batch in place of a stream, and a training around it. Must not: measurements.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.batch import Batch
from harness.context import Context
from harness.contracts import Objective
from harness.data.augment import Augment
from harness.journal import Journal
from harness.loop import Training
from harness.recipe import Recipe
from harness.topology import Topology


@dataclass(frozen=True)
class OneBatch:
    """Stands in for a training stream."""

    batch: Batch
    steps_per_epoch: int = 1_000_000

    @classmethod
    def random(cls, count: int, size: int, classes: int = 1000) -> "OneBatch":
        """Noise, in the layout that the stream delivers."""
        images = torch.randn(count, 3, size, size).to(memory_format=torch.channels_last)
        return cls(Batch(images, torch.randint(classes, (count,)), torch.arange(count)))

    def noise_seed(self, batch: Batch) -> int:
        """As a stream's."""
        return 0

    def endless(self) -> Iterator[Batch]:
        """The batch again and again."""
        while True:
            yield self.batch


def training(network: nn.Module, objective: Objective, batch: OneBatch, context: Context) -> Callable[[], None]:
    """One step of the loop, with everything a step of it does."""
    count, size = len(batch.batch.labels), batch.batch.images.shape[-1]
    augment = Augment(crop="resized", size=size)
    recipe = Recipe(
        epochs=1, augment=augment, global_batch=count * context.topology.world, batch_per_gpu=count, lr=0.01
    )
    stream: Any = batch
    running, batches = Training(network, recipe, objective, stream, context), batch.endless()

    def step() -> None:
        running.step(batches, 0.01)
        if running.watch.end_step():
            running.between_steps()

    return step


def context(unfinished: Path, topology: Topology = Topology()) -> Context:  # noqa: B008  # frozen
    """A CPU and nobody who listens."""
    return Context(
        topology=topology, device="cpu", folder=unfinished.parent, unfinished=unfinished, journal=Journal(None)
    )
