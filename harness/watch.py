"""Keeping an eye on training: losses stay finite, and somebody is told how far it is.

Lives here: `Watch`. Must not: anything that changes the training.
"""

import math
import time

import torch

from harness.context import Context
from harness.engine.group import mean_over_ranks
from harness.errors import StageError
from harness.recipe import Recipe

LOOK_EVERY = 50
"""Micro-batches between two looks at the losses, which wait on the device until then; an epoch's end is a look too."""


class Watch:
    """Sees the loss of every micro-batch, on every rank. `epoch_losses` are means over an epoch and all ranks."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int, context: Context) -> None:
        self.epoch_losses: list[float] = []
        self._recipe, self._steps_per_epoch, self._context = recipe, steps_per_epoch, context
        self._accumulation = recipe.accumulation(context.topology.world)
        self._waiting: list[torch.Tensor] = []
        self._losses: list[float] = []
        self._started = time.monotonic()

    def see(self, loss: torch.Tensor) -> None:
        """Take in the loss of one micro-batch. Raises StageError, on all ranks, if a waiting one is not finite."""
        self._waiting.append(loss)
        if len(self._waiting) == LOOK_EVERY:
            self._look()
            self._tell("steps")

    def end_epoch(self) -> None:
        """Look at what still waits, and close the epoch."""
        self._look()
        self._tell("epoch")
        self.epoch_losses.append(sum(self._losses) / len(self._losses))
        self._losses.clear()

    def _look(self) -> None:
        """One exchange for all waiting losses, so that every rank stops at the same step."""
        if not self._waiting:
            return
        for loss in mean_over_ranks(torch.stack(self._waiting)).tolist():
            if not math.isfinite(loss):
                step = len(self._losses) // self._accumulation
                raise StageError(
                    f"the loss is {loss} at step {step} of epoch {len(self.epoch_losses)}: lower the learning rate, or"
                    " look at the images of that step"
                )
            self._losses.append(loss)
        self._waiting.clear()

    def _tell(self, event: str) -> None:
        steps = len(self.epoch_losses) * self._steps_per_epoch + len(self._losses) / self._accumulation
        done, of = (round(n * self._recipe.global_batch) for n in (steps, self._recipe.epochs * self._steps_per_epoch))
        seconds = time.monotonic() - self._started
        self._context.journal.write(
            event,
            epoch=len(self.epoch_losses) + 1,
            epochs=self._recipe.epochs,
            done=done,
            of=of,
            loss=round(sum(self._losses) / len(self._losses), 5),
            images_per_s=round(done / seconds, 1),
            seconds_left=round(seconds / done * (of - done), 1),
        )
