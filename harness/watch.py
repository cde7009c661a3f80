"""Keeping an eye on training: losses stay finite, and somebody is told how far it is.

Lives here: `Watch`. Must not: anything that changes the training.
"""

import math
import time
from dataclasses import dataclass, field

import torch

from harness.context import Context
from harness.engine.group import mean_over_ranks
from harness.errors import StageError
from harness.recipe import Recipe

LOOK_EVERY = 50
"""Most micro-batches between two looks at the losses, which wait on the device until then."""
LOOK_SECONDS = 5.0
"""Looks are not much further apart: whoever takes the machine away may leave 15 s to save."""


@dataclass
class Seen:
    """Losses over all ranks: the mean of every finished epoch, and of every step of the running one."""

    epochs: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    best: int = -1
    """Most hits on the minival after an epoch, if anybody looked."""
    device_seconds: float = 0.0
    """Seconds times ranks that all attempts together have trained for."""


class Watch:
    """Sees the loss of every micro-batch, on every rank."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int, seen: Seen, context: Context) -> None:
        self.seen = seen
        """After a look this also says where the training is."""
        self._recipe, self._steps_per_epoch, self._context = recipe, steps_per_epoch, context
        self._accumulation = recipe.accumulation(context.topology.world)
        self._waiting: list[torch.Tensor] = []
        self._look_after = self._accumulation
        self._started = self._looked = time.monotonic()
        self._done_before = self.updates
        self._spent_before = seen.device_seconds

    @property
    def updates(self) -> int:
        """Steps done since the very beginning, as far as they were looked at."""
        return len(self.seen.epochs) * self._steps_per_epoch + len(self.seen.steps)

    def see(self, loss: torch.Tensor) -> None:
        """Take in the loss of one micro-batch."""
        self._waiting.append(loss)

    def end_step(self) -> bool:
        """Look, if enough losses wait, and say so. Raises StageError, on all ranks, if one of them is not finite."""
        if len(self._waiting) < self._look_after:
            return False
        self._look()
        self._tell("steps")
        return True

    def end_epoch(self) -> None:
        """Look at what still waits, and close the epoch. Raises as `end_step` does."""
        self._look()
        self._tell("epoch")
        self.seen.epochs.append(sum(self.seen.steps) / len(self.seen.steps))
        self.seen.steps.clear()

    def _look(self) -> None:
        """One exchange for all waiting losses, so that every rank stops at the same step."""
        seconds = time.monotonic() - self._started
        self.seen.device_seconds = self._spent_before + seconds * self._context.topology.world
        if not self._waiting:
            return
        losses, micro_batch_s = self._exchange()
        self._look_after = min(LOOK_EVERY, max(1, int(LOOK_SECONDS / micro_batch_s)))
        for step in losses.view(-1, self._accumulation).mean(dim=1).tolist():
            if not math.isfinite(step):
                raise StageError(
                    f"the loss is {step} at step {len(self.seen.steps)} of epoch {len(self.seen.epochs)}: lower the"
                    " learning rate, or look at the images of that step"
                )
            self.seen.steps.append(step)
        self._waiting.clear()

    def _exchange(self) -> tuple[torch.Tensor, float]:
        """Waiting losses and the seconds that one took, means over all ranks, and so the same on each."""
        now = time.monotonic()
        seconds = torch.tensor([now - self._looked], device=self._waiting[0].device)
        self._looked = now
        means = mean_over_ranks(torch.cat([torch.stack(self._waiting), seconds]))
        return means[:-1], max(float(means[-1]) / len(self._waiting), 1e-9)

    def _tell(self, event: str) -> None:
        steps = (self._recipe.end - self._recipe.first_epoch) * self._steps_per_epoch
        seconds_a_step = (time.monotonic() - self._started) / max(1, self.updates - self._done_before)
        self._context.journal.write(
            event,
            epoch=self._recipe.first_epoch + len(self.seen.epochs) + 1,
            epochs=self._recipe.end,
            updates=self.updates,
            done=self.updates * self._recipe.global_batch,
            of=steps * self._recipe.global_batch,
            loss=round(sum(self.seen.steps) / len(self.seen.steps), 5),
            images_per_s=round(self._recipe.global_batch / seconds_a_step, 1),
            seconds_left=round(seconds_a_step * (steps - self.updates), 1),
        )
