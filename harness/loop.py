"""The only training loop.

Lives here: epochs, steps, micro-batches, the loss. Must not: any method (they reach the loop as an objective), what is
told on the way (`harness.watch`), what a checkpoint holds (`harness.state`).
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict

import torch
from torch import nn

from harness.batch import Batch
from harness.checkpoint import Checkpoints
from harness.context import Context
from harness.contracts import Objective
from harness.data.prepared import Prepared
from harness.data.stream import TrainStream
from harness.engine.average import Average
from harness.engine.engine import Engine, make_engine
from harness.engine.statistics import StepStatistics, average_statistics
from harness.network import place
from harness.recipe import Recipe
from harness.schedule import learning_rate
from harness.state import State, restore_weights
from harness.watch import Seen, Watch


def train(
    network: nn.Module, recipe: Recipe, objective: Objective, data: Prepared, seed: int, context: Context
) -> list[float]:
    """Train in place; pruned weights must be zero and held already. Returns the mean loss of each epoch.

    Goes on where the newest checkpoint was taken. Raises StageError at the first loss that is not finite, on all ranks
    together.
    """
    training = Training(network, recipe, objective, data.train_stream(recipe, seed, context), context)
    try:
        for epoch in range(len(training.seen.epochs), recipe.epochs):
            training.epoch(epoch)
    finally:
        training.checkpoints.finish()
        training.engine.close()
    training.finish()
    return training.seen.epochs


class Training:
    """One network on its way, from the newest checkpoint if there is one. Use `train`."""

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        objective: Objective,
        stream: TrainStream,
        context: Context,
    ) -> None:
        self.network, self.recipe, self.objective, self.stream = network, recipe, objective, stream
        place(network, context.device, channels_last=recipe.channels_last, compiled=recipe.compiled).train()
        self.accumulation = recipe.accumulation(context.topology.world)
        self.checkpoints = Checkpoints(context)
        saved = self.checkpoints.newest()
        restore_weights(network, saved.tensors)
        self.engine = make_engine(network, recipe, context)
        self.average = Average(network, recipe.ema_decay) if recipe.ema_decay else None
        self.state = State(network, self.engine, self.average)
        self.state.restore(saved.tensors, context.topology)
        self.statistics = StepStatistics(network, self.accumulation)
        self.seen = Seen(**saved.facts)
        self.watch = Watch(recipe, stream.steps_per_epoch, self.seen, context)

    def epoch(self, number: int) -> None:
        """What is left of an epoch."""
        first, steps = len(self.seen.steps), self.stream.steps_per_epoch
        with closing(self.stream.epoch(number, first)) as batches:
            for step in range(first, steps):
                self.step(batches, learning_rate(self.recipe, number + step / steps))
                if self.watch.end_step():
                    self.save_if_due()
        self.watch.end_epoch()
        if number + 1 < self.recipe.epochs:
            self.save_if_due()

    def step(self, batches: Iterator[Batch], lr: float) -> None:
        """One update of the weights, from as many batches as make a global one."""
        for _ in range(self.accumulation):
            batch = next(batches)
            torch.manual_seed(self.stream.noise_seed(batch))
            loss = total_loss(self.engine, self.objective, batch)
            self.engine.update(loss, lr)
            self.statistics.after_micro_batch()
            self.watch.see(loss.detach())
        if self.average is not None:
            self.average.update()

    def save_if_due(self) -> None:
        """A checkpoint, between two steps."""
        if self.checkpoints.due():
            self.checkpoints.save(self.watch.updates, asdict(self.seen), self.state.tensors())

    def finish(self) -> None:
        """Leave the network as it is published."""
        if self.average is not None:
            self.average.replace_network()
        average_statistics(self.network)


def total_loss(engine: Engine, objective: Objective, batch: Batch) -> torch.Tensor:
    """The sum of the objective's terms on one micro-batch, in fp32 whatever the precision of the network."""
    terms = objective(engine.forward(batch.images).float(), batch)
    return torch.stack([term.float() for term in terms.values()]).sum()
