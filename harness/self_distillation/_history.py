"""What `harness.self_distillation.ps_kd` remembers.

Lives here: `History`. Must not: losses.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.course import Course


class History(nn.Module):
    """The last prediction for every training image; rank r holds those for the images r, r + world, r + 2 world, ...

    2 bytes x images x classes over all ranks, and as much in each checkpoint: 2.6 GB for ImageNet. While a checkpoint
    is made, every rank has the whole on its device twice.
    """

    shard: Tensor

    def __init__(self, course: Course) -> None:
        super().__init__()
        self.ranks, self.images, self.epochs = course.ranks, course.images, course.recipe.epochs
        rows = -(-course.images // course.ranks.world)
        # Not persistent, or it would be taken for something that all ranks hold alike.
        self.register_buffer("shard", torch.zeros(rows, course.classes, dtype=torch.float16), persistent=False)
        """Probabilities [ceil(images / world), classes]; a row of zeros where nothing is remembered."""
        self._noted: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def rows(self, indices: Tensor) -> Tensor:
        """What is remembered of these images, as float32 [n, classes]. All ranks call together, with as many."""
        wanted = self.ranks.gather(indices.to(self.shard.device))
        here = wanted % self.ranks.world == self.ranks.rank
        found = self.shard[wanted // self.ranks.world].float() * here[..., None]
        self.ranks.add(found)  # [world, n, classes], every row filled by one rank
        return found[self.ranks.rank]

    def note(self, indices: Tensor, probabilities: Tensor) -> None:
        """Remember probabilities [n, classes] of the images `indices` [n] from the end of this step on."""
        self._noted.append((indices.to(self.shard.device), probabilities.to(self.shard.dtype)))

    @torch.no_grad()
    def end_step(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Remember what was noted since the last step. `gather` makes [world, ...] of the tensors of all ranks."""
        mine, probabilities = (torch.cat(noted) for noted in zip(*self._noted, strict=True))
        self._noted.clear()
        indices, rows = gather(mine).flatten(), gather(probabilities).flatten(0, 1)  # the images of an update differ
        here = indices % self.ranks.world == self.ranks.rank
        self.shard[indices[here] // self.ranks.world] = rows[here]

    def whole(self) -> Tensor:
        """[images, classes], in the order of the images. All ranks call together."""
        return self.ranks.gather(self.shard).transpose(0, 1).flatten(0, 1)[: self.images]

    @torch.no_grad()
    def restore(self, whole: Tensor) -> None:
        """Take this rank's part of [images, classes]."""
        mine = whole[self.ranks.rank :: self.ranks.world]
        self.shard[: len(mine)] = mine.to(self.shard)
