"""What of a running training goes into a checkpoint, free of the number of ranks.

Lives here: `State`. Must not: files (`harness.checkpoint`), the loop.
"""

import torch
from torch import Tensor, nn

from harness.engine.average import Average
from harness.engine.engine import Engine
from harness.engine.group import gather_from_ranks
from harness.engine.statistics import running_statistics
from harness.topology import Topology

STATISTICS = "statistics"
"""BatchNorm's running statistics, one row for each rank: its own, until training ends."""


class State:
    """Parameters, momentum, averaged weights and statistics. All ranks call together."""

    def __init__(self, network: nn.Module, engine: Engine, average: Average | None) -> None:
        self._parameters = dict(network.named_parameters())
        self._counts = {n: b for n, b in network.named_buffers() if not b.is_floating_point()}
        self._averages = {n: t for n, t in average.tensors.items() if n in self._parameters} if average else {}
        self._engine = engine
        own = [t for n, t in average.tensors.items() if n not in self._parameters] if average else []
        self._statistics = [*running_statistics(network), *own]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds, by name."""
        found = {f"weights.{name}": tensor for name, tensor in (self._parameters | self._counts).items()}
        found |= {f"momentum.{name}": tensor for name, tensor in self._engine.momentum().items()}
        found |= {f"average.{name}": tensor for name, tensor in self._averages.items()}
        if self._statistics:
            mine = torch.cat([tensor.flatten() for tensor in self._statistics])
            found[STATISTICS] = gather_from_ranks(mine)
        return found

    @torch.no_grad()
    def restore(self, saved: dict[str, Tensor], topology: Topology) -> None:
        """Inverse of `tensors`, for what `restore_weights` does not do. On other ranks than before: their mean."""
        if not saved:
            return
        self._engine.set_momentum({name: saved[f"momentum.{name}"] for name in self._parameters})
        for name, tensor in self._averages.items():
            tensor.copy_(saved[f"average.{name}"])
        if self._statistics:
            rows = saved[STATISTICS]
            mine = rows[topology.rank] if len(rows) == topology.world else rows.mean(dim=0)
            parts = torch.split(mine, [tensor.numel() for tensor in self._statistics])
            for tensor, values in zip(self._statistics, parts, strict=True):
                tensor.copy_(values.view(tensor.shape))


@torch.no_grad()
def restore_weights(network: nn.Module, saved: dict[str, Tensor]) -> None:
    """Give a network the saved parameters, before an engine makes copies of them."""
    for name, tensor in network.state_dict(keep_vars=True).items():
        if f"weights.{name}" in saved:
            tensor.copy_(saved[f"weights.{name}"])
