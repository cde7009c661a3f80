"""The only training loop.

Lives here: epochs, steps, the loss that must stay finite, what is told on the way. Must not: any method; they
reach the loop as an objective.
"""

import time
from dataclasses import dataclass, field

import torch
from torch import nn

from harness.context import Context
from harness.data.prepared import Prepared
from harness.engine.engine import Engine, average_buffers, make_engine
from harness.engine.group import mean_over_ranks
from harness.errors import StageError
from harness.network import place
from harness.objective import Objective
from harness.recipe import Recipe
from harness.schedule import learning_rate

WATCH_STEPS = 50
"""Losses are read from the device, averaged over ranks and checked this often, and at every epoch's end."""


def train(
    network: nn.Module, recipe: Recipe, objective: Objective, data: Prepared, seed: int, context: Context
) -> list[float]:
    """Train in place; pruned weights must be zero and held already. Returns the mean loss of each epoch.

    Raises StageError at the first loss that is not finite, on all ranks together.
    """
    topology = context.topology
    stream = data.train_stream(recipe, seed, context)
    place(network, context.device, channels_last=recipe.channels_last).train()
    engine = make_engine(network, recipe, topology.world)
    watch = Watch(context, recipe, stream.steps_per_epoch)
    accumulation = recipe.accumulation(topology.world)
    try:
        for epoch in range(recipe.epochs):
            for micro, batch in enumerate(stream.epoch(epoch)):
                step = micro // accumulation
                lr = learning_rate(recipe, epoch + step / stream.steps_per_epoch)
                loss = one_batch(engine, objective, batch.images, batch.labels, lr, recipe.precision)
                watch.see(epoch, micro, loss)
            watch.end_epoch(epoch)
    finally:
        engine.close()
    average_buffers(network)
    return watch.epoch_losses


def one_batch(
    engine: Engine, objective: Objective, images: torch.Tensor, labels: torch.Tensor, lr: float, precision: str
) -> torch.Tensor:
    """Forward, loss, backward (and step, when the global batch is complete) of one micro-batch."""
    logits = engine.forward(images)
    with torch.autocast(
        images.device.type, torch.bfloat16, enabled=precision == "bf16"
    ):  # for a teacher, if there is one
        terms = objective(logits.float(), images, labels)
    loss = torch.stack([term.float() for term in terms.values()]).sum()
    engine.update(loss, lr)
    return loss.detach()


@dataclass
class Watch:
    """Collects losses on the device, checks them now and then, and tells the journal."""

    context: Context
    recipe: Recipe
    steps_per_epoch: int
    epoch_losses: list[float] = field(default_factory=list)
    waiting: list[torch.Tensor] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def see(self, epoch: int, micro: int, loss: torch.Tensor) -> None:
        """Take in the loss of a micro-batch."""
        self.waiting.append(loss)
        if len(self.waiting) == WATCH_STEPS:
            self._check(epoch)
            self._tell("steps", epoch)

    def end_epoch(self, epoch: int) -> None:
        """Take in the end of an epoch."""
        self._check(epoch)
        self._tell("epoch", epoch)
        self.epoch_losses.append(sum(self.seen) / len(self.seen))
        self.seen.clear()

    def _check(self, epoch: int) -> None:
        """One exchange for all waiting losses, so that every rank stops at the same step."""
        if not self.waiting:
            return
        losses = mean_over_ranks(torch.stack(self.waiting)).tolist()
        self.waiting.clear()
        for loss in losses:
            if not torch.isfinite(torch.tensor(loss)):
                step = self._micro_batches() // self.recipe.accumulation(self.context.topology.world)
                raise StageError(
                    f"the loss is {loss} at step {step % self.steps_per_epoch} of epoch {epoch}"
                    f" (step {step} in all): lower the learning rate or check the data"
                )
            self.seen.append(loss)

    def _micro_batches(self) -> int:
        accumulation = self.recipe.accumulation(self.context.topology.world)
        return len(self.epoch_losses) * self.steps_per_epoch * accumulation + len(self.seen)

    def _tell(self, event: str, epoch: int) -> None:
        images = self._micro_batches() * self.recipe.batch_per_gpu * self.context.topology.world
        of = self.recipe.epochs * self.steps_per_epoch * self.recipe.global_batch
        seconds = time.monotonic() - self.started
        self.context.journal.write(
            event,
            epoch=epoch + 1,
            epochs=self.recipe.epochs,
            done=images,
            of=of,
            loss=round(sum(self.seen) / len(self.seen), 5),
            images_per_s=round(images / seconds, 1),
            seconds_left=round(seconds / images * (of - images), 1),
        )
