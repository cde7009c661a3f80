"""What `harness.self_distillation.dlb` remembers.

Lives here: `Previous`. Must not: losses.
"""

from collections.abc import Callable
from math import nan

import torch
from torch import Tensor, nn

from harness.recipe import Recipe


class Previous(nn.Module):
    """The logits of the last update's images, the same on all ranks and at any number of them.

    An update has `global_batch` / `batch_per_gpu` lanes: the micro-batches of all ranks in the order of the stream.
    """

    logits: Tensor

    def __init__(self, recipe: Recipe, classes: int) -> None:
        super().__init__()
        self._batch, self._lanes = recipe.batch_per_gpu, recipe.global_batch // recipe.batch_per_gpu
        # What was never said must not pass for a prediction: a loss that takes it is no number.
        self.register_buffer("logits", torch.full((self._lanes, self._batch, classes), nan))
        """[lanes, batch_per_gpu, classes]."""
        self._noted: dict[int, Tensor] = {}

    def logits_at(self, position: int) -> Tensor:
        """[batch_per_gpu, classes]: those of the micro-batch in the same place of the last update, to keep."""
        return self.logits[self._lane(position)].clone()

    def note(self, position: int, logits: Tensor) -> None:
        """Remember the logits of the micro-batch at a position of the stream from the end of this step on."""
        self._noted[self._lane(position)] = logits

    @torch.no_grad()
    def end_step(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Remember what was noted since the last step. `gather` makes [world, ...] of the tensors of all ranks."""
        lanes = gather(torch.tensor(list(self._noted), device=self.logits.device))
        logits = gather(torch.stack(list(self._noted.values())))
        self.logits[lanes.flatten()] = logits.flatten(0, 1).to(self.logits.dtype)
        self._noted.clear()

    def _lane(self, position: int) -> int:
        return position // self._batch % self._lanes
