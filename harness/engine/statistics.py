"""BatchNorm's running statistics, which no engine keeps in step: the same at any number of ranks.

Lives here: one update for each step, and the mean over ranks. Must not: weights.
"""

import torch
from torch import Tensor, nn

from harness.engine.group import mean_over_ranks


class StepStatistics:
    """Makes a step of several micro-batches one update of the running statistics, by the mean over micro-batches.

    A rank that adds up two micro-batches would otherwise update twice, and a network's statistics would depend on how
    many ranks share a global batch.
    """

    def __init__(self, network: nn.Module, accumulation: int) -> None:
        self._buffers = list(network.buffers())
        self._accumulation = accumulation
        self._before: list[Tensor] = []
        self._sums: list[Tensor] = []
        self._begin()

    @torch.no_grad()
    def after_micro_batch(self) -> None:
        """Take in what one micro-batch made of them; after its backward, which forbids that they change."""
        if not self._before:
            return
        self._part += 1
        torch._foreach_add_(self._sums, self._buffers)
        for buffer, total, before in zip(self._buffers, self._sums, self._before, strict=True):
            if self._part < self._accumulation:
                buffer.copy_(before)
            elif buffer.is_floating_point():  # the others count: one step, one more
                buffer.copy_(total / self._accumulation)
        if self._part == self._accumulation:
            self._begin()

    def _begin(self) -> None:
        self._part = 0
        if self._accumulation > 1:  # else a step is one update anyway
            self._before = [buffer.clone() for buffer in self._buffers]
            self._sums = [torch.zeros_like(buffer) for buffer in self._buffers]


def running_statistics(network: nn.Module) -> list[Tensor]:
    """The buffers that every rank has values of its own for, in a fixed order."""
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]


def average_statistics(network: nn.Module) -> None:
    """Make them the mean over all ranks."""
    for buffer in running_statistics(network):
        buffer.copy_(mean_over_ranks(buffer))
