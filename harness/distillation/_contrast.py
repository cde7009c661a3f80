"""What `harness.distillation.crd` learns and remembers.

Lives here: `Contrast`. Must not: the weights of losses.
"""

from collections.abc import Callable
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.batch import Batch

_EPSILON = 1e-7  # the official code's constant


class Contrast(nn.Module):
    """Embeddings of both networks, and the last ones of every image; number 0 is the student, 1 the teacher.

    The memory changes between two steps only, and by what all ranks met in the order of the stream. So neither the
    number of ranks nor of micro-batches tells in it.
    """

    memory: Tensor
    normaliser: Tensor

    def __init__(self, student: int, teacher: int, dim: int, images: int, momentum: float) -> None:
        """Embeds features of `student` and `teacher` numbers in `dim` numbers, for so many training images."""
        super().__init__()
        self.embed = nn.ModuleList([nn.Linear(student, dim), nn.Linear(teacher, dim)])
        self.momentum = momentum
        bound = (3 / dim) ** 0.5
        self.register_buffer("memory", torch.empty(2, images, dim).uniform_(-bound, bound))
        """[2, images, dim], of length one or, in the beginning, about one."""
        self.register_buffer("normaliser", torch.zeros(2))
        """The constants Z of the losses; 0 until the end of the first step, which decides them by all it met.

        Until then each micro-batch counts with its own estimate. So the first step's loss depends on `batch_per_gpu`,
        as BatchNorm's statistics do, but not on the ranks, which share the same micro-batches.
        """
        self._met: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch, negatives: int, temperature: float) -> Tensor:
        """Features [n, student] and [n, teacher] of a batch -> the losses [2] of both, means over the batch.

        Draws `negatives` images for each, or as many as there are, from torch's generator.
        """
        images, device = self.memory.shape[1], student.device
        indices = batch.indices.to(device)
        drawn = torch.randint(images, (len(indices), min(negatives, images)), device=device)
        compared = torch.cat([indices[:, None], drawn], dim=1)
        embedded = [F.normalize(embed(x)) for embed, x in zip(self.embed, (student, teacher), strict=True)]
        scores = torch.stack(
            [
                torch.einsum("nkd,nd->nk", remembered[compared], mine) / temperature
                for remembered, mine in zip(self.memory.unbind()[::-1], embedded, strict=True)
            ]
        )
        means = scores.detach().exp().mean(dim=2)  # [2, n]
        positions = batch.position + torch.arange(len(indices), device=device)
        self._met.append((torch.stack([positions, indices]), torch.stack(embedded).detach(), means))
        normaliser = torch.where(self.normaliser > 0, self.normaliser, means.mean(dim=1) * images)
        return _noise_contrastive(scores - normaliser.log()[:, None, None], images)

    @torch.no_grad()
    def end_step(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Remember what was met since the last step. `gather` makes [world, ...] of the tensors of all ranks."""
        facts, embedded, means = (torch.cat(parts, dim=1) for parts in zip(*self._met, strict=True))
        self._met.clear()
        positions, indices = _in_line(gather(facts))
        order = positions.argsort()
        embedded, means = (_in_line(gather(values))[:, order] for values in (embedded, means))
        indices = indices[order]
        if not self.normaliser.all():
            self.normaliser.copy_(means.mean(dim=1) * self.memory.shape[1])
        last = _last_of_each(indices)
        kept = self.memory[:, indices[last]]
        mixed = self.momentum * kept + (1 - self.momentum) * embedded[:, last]
        self.memory[:, indices[last]] = F.normalize(mixed, dim=2)


def _noise_contrastive(log_p: Tensor, images: int) -> Tensor:
    """Log-scores [2, n, 1 + m], the image itself first -> losses [2], means over n (the paper's equation 18).

    The noise is uniform: an image that is drawn m times at random comes up m / `images` times.
    """
    expected = (log_p.shape[2] - 1) / images
    odds = log_p - log(expected + _EPSILON)
    itself = F.logsigmoid(odds[:, :, 0])
    others = F.logsigmoid(-odds[:, :, 1:]) + log(expected / (expected + _EPSILON))
    return -(itself + others.sum(dim=2)).mean(dim=1)


def _in_line(gathered: Tensor) -> Tensor:
    """[world, 2, n, ...] -> [2, world x n, ...]."""
    return gathered.transpose(0, 1).flatten(1, 2)


def _last_of_each(indices: Tensor) -> Tensor:
    """Where each of the different indices stands for the last time."""
    order = indices.argsort(stable=True)
    ends = torch.ones_like(order, dtype=torch.bool)
    ends[:-1] = indices[order][1:] != indices[order][:-1]
    return order[ends]
