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
        self._buffers = running_statistics(network)
        self._counts = [
            module.num_batches_tracked
            for module in network.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.num_batches_tracked is not None
        ]
        self._counts_before = [count.clone() for count in self._counts]
        self._accumulation, self._part = accumulation, 0
        self._before = [buffer.clone() for buffer in self._buffers]
        self._changes = [torch.zeros_like(buffer) for buffer in self._buffers]

    @torch.no_grad()
    def after_micro_batch(self) -> None:
        """Take in what one micro-batch made of them; after its backward, which forbids that they change."""
        if self._accumulation == 1 or not self._buffers:  # a step is one update anyway
            return
        self._part = (self._part + 1) % self._accumulation
        torch._foreach_add_(self._changes, torch._foreach_sub(self._buffers, self._before))
        torch._foreach_copy_(self._buffers, self._before)
        if self._part:
            for count, before in zip(self._counts, self._counts_before, strict=True):  # a step counts once
                count.copy_(before)
            return
        torch._foreach_add_(self._buffers, self._changes, alpha=1 / self._accumulation)
        torch._foreach_copy_(self._before, self._buffers)
        for count, before in zip(self._counts, self._counts_before, strict=True):
            before.copy_(count)
        torch._foreach_zero_(self._changes)


def running_statistics(network: nn.Module) -> list[Tensor]:
    """The buffers that every rank has values of its own for, in a fixed order."""
    return [
        buffer
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)
        for buffer in module.buffers(recurse=False)
        if buffer.is_floating_point()
    ]


def average_statistics(network: nn.Module) -> None:
    """Make them the mean over all ranks."""
    for buffer in running_statistics(network):
        buffer.copy_(mean_over_ranks(buffer))
