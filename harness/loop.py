"""The only training loop.

Lives here: epochs, steps, micro-batches, the loss. Must not: any method (they reach the loop as an objective), what is
told on the way (`harness.watch`), what a checkpoint holds (`harness.state`).
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass

import torch
from torch import nn

from harness.batch import Batch
from harness.checkpoint import Checkpoints, Verdict
from harness.context import Context
from harness.contracts import Objective
from harness.data.prepared import Prepared
from harness.data.stream import TrainStream
from harness.engine.average import Average
from harness.engine.engine import make_engine
from harness.engine.statistics import StepStatistics, average_statistics
from harness.gradual import Gradual, Pruner
from harness.network import place
from harness.objective import loss
from harness.pruning.mask import Masks
from harness.recipe import Recipe
from harness.schedule import learning_rate
from harness.selection import Selection
from harness.state import State, restore_weights
from harness.watch import Seen, Watch


@dataclass(frozen=True)
class Trained:
    """What training tells: the mean loss of each epoch, what earlier attempts spent on what this one took up."""

    losses: list[float]
    earlier_device_seconds: float
    masks: Masks | None
    """What is left of a network that was pruned gradually."""


def train(
    network: nn.Module,
    recipe: Recipe,
    objective: Objective,
    data: Prepared,
    seed: int,
    context: Context,
    gradual: Gradual | None = None,
) -> Trained:
    """Train in place; pruned weights must be zero and held already.

    Goes on where the newest checkpoint was taken. `gradual`: prunes the network on the way. Raises StageError at the
    first loss that is not finite, Stopped when the machine is taken away, on all ranks together.
    """
    stream = data.train_stream(recipe, seed, context, objective.mates)
    training = Training(network, recipe, objective, stream, context, data if recipe.keep == "best" else None, gradual)
    try:
        with context.ending.deferred():
            for epoch in range(recipe.first_epoch + len(training.seen.epochs), recipe.end):
                training.epoch(epoch)
    finally:
        training.checkpoints.finish()
        training.engine.close()
    training.finish()
    masks = training.pruner.masks if training.pruner else None
    return Trained(training.seen.epochs, training.earlier_device_seconds, masks)


class Training:
    """One network on its way, from the newest checkpoint if there is one. Use `train`."""

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        objective: Objective,
        stream: TrainStream,
        context: Context,
        choose_on: Prepared | None = None,
        gradual: Gradual | None = None,
    ) -> None:
        self.network, self.recipe, self.objective, self.stream = network, recipe, objective, stream
        place(network, context.device, channels_last=recipe.channels_last, compiled=recipe.compiled).train()
        trained = network
        if objective.learned is not None:
            trained = Beside(network, objective.learned.to(context.device))
        self.accumulation = recipe.accumulation(context.topology.world)
        self.checkpoints = Checkpoints(context)
        saved = self.checkpoints.newest()
        restore_weights(trained, saved.tensors)
        self.engine = make_engine(trained, recipe, context)
        self.average = Average(network, recipe.ema_decay) if recipe.ema_decay else None
        self.selection = Selection(network, recipe, choose_on, context) if choose_on else None
        self.pruner = Pruner(gradual, self.engine, self.average) if gradual else None
        self.state = State(trained, self.engine, self.average, self.selection, self.pruner, objective.learned)
        self.state.restore(saved.tensors, context.topology)
        self.statistics = StepStatistics(trained, self.accumulation)
        self.seen = Seen(**saved.facts)
        self.earlier_device_seconds = self.seen.device_seconds
        self.watch = Watch(recipe, stream.steps_per_epoch, self.seen, context)

    def epoch(self, number: int) -> None:
        """What is left of an epoch."""
        first, steps = len(self.seen.steps), self.stream.steps_per_epoch
        with closing(self.stream.epoch(number, first)) as batches:
            for step in range(first, steps):
                if self.pruner is not None:
                    self.pruner.before(number * steps + step)
                self.step(batches, learning_rate(self.recipe, number + step / steps))
                if self.watch.end_step():
                    self.between_steps()
        self.watch.end_epoch()
        if self.selection is not None:
            self.seen.best = self.selection.see(self.seen.best)
        if number + 1 < self.recipe.end:
            self.between_steps()

    def step(self, batches: Iterator[Batch], lr: float) -> None:
        """One update of the weights, from as many batches as make a global one."""
        for _ in range(self.accumulation):
            batch = next(batches)
            torch.manual_seed(self.stream.noise_seed(batch))
            found = loss(self.objective, self._forward, batch)
            self.engine.update(found, lr)
            self.statistics.after_micro_batch()
            self.watch.see(found.detach())
        self.objective.end_step()
        if self.average is not None:
            self.average.update()

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits in fp32 whatever the precision of the network: what losses are computed from."""
        return self.engine.forward(images).float()

    def between_steps(self) -> None:
        """A checkpoint if it is time for one, and the end if the machine is taken away."""
        verdict = self.checkpoints.verdict()
        if verdict in (Verdict.SAVE, Verdict.SAVE_AND_STOP):
            self.checkpoints.save(self.watch.updates, asdict(self.seen), self.state.tensors())
        if verdict in (Verdict.SAVE_AND_STOP, Verdict.STOP):
            self.checkpoints.stop()

    def finish(self) -> None:
        """Leave the network as it is published."""
        if self.average is not None:
            self.average.replace_network()
        average_statistics(self.network)
        if self.selection is not None:
            self.selection.replace_network()


class Beside(nn.Module):
    """A network and what an objective learns beside it, as one module to an engine."""

    def __init__(self, network: nn.Module, learned: nn.Module) -> None:
        super().__init__()
        self.network, self.learned = network, learned

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The network's logits."""
        logits: torch.Tensor = self.network(images)
        return logits
