"""What of a running training goes into a checkpoint, free of the number of ranks.

Lives here: `State`. Must not: files (`harness.checkpoint`), the loop.
"""

import torch
from torch import Tensor, nn

from harness.contracts import Sharded
from harness.engine.average import Average
from harness.engine.engine import Engine
from harness.engine.group import gather_from_ranks
from harness.engine.statistics import running_statistics
from harness.errors import UserError
from harness.gradual import Pruner
from harness.selection import Selection
from harness.topology import Topology

STATISTICS = "statistics"
"""BatchNorm's running statistics, one row for each rank: its own, until training ends."""
MEMORY = "memory"
"""What a loss remembers in parts, put together."""


class State:
    """Parameters, momentum, averages, the best epoch, growing masks and statistics. All ranks call together."""

    def __init__(
        self,
        network: nn.Module,
        engine: Engine,
        average: Average | None,
        selection: Selection | None,
        pruner: Pruner | None,
        learned: nn.Module | None,
    ) -> None:
        self._network, self._engine = network, engine
        self._memory = learned if isinstance(learned, Sharded) else None
        self._average = average.parameters if average else {}
        self._pruner = pruner
        self._best = selection.tensors if selection else {}
        self._statistics = [*running_statistics(network), *(average.statistics if average else [])]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds, by name."""
        found = _weights(self._network)
        found |= {f"momentum.{name}": tensor for name, tensor in self._engine.momentum().items()}
        found |= {f"average.{name}": tensor for name, tensor in self._average.items()}
        if self._pruner is not None:
            found |= {f"mask.{name}": mask for name, mask in self._pruner.masks.items()}
        found |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        if self._memory is not None:
            found[MEMORY] = self._memory.whole()
        if self._statistics:
            mine = torch.cat([tensor.flatten() for tensor in self._statistics])
            found[STATISTICS] = gather_from_ranks(mine)
        return found

    @torch.no_grad()
    def restore(self, saved: dict[str, Tensor], topology: Topology) -> None:
        """Inverse of `tensors`, for what `restore_weights` does not do. On other ranks than before: their mean."""
        if not saved:
            return
        self._engine.set_momentum({name: saved[f"momentum.{name}"] for name, _ in self._network.named_parameters()})
        for name, tensor in self._average.items():
            tensor.copy_(saved[f"average.{name}"])
        if self._pruner is not None:
            for name, mask in self._pruner.masks.items():
                mask.copy_(saved[f"mask.{name}"])
            self._pruner.hold()
        for name, tensor in self._best.items():
            tensor.copy_(saved[f"best.{name}"])
        if self._memory is not None:
            self._memory.restore(saved[MEMORY])
        if self._statistics:
            rows = saved[STATISTICS]
            mine = rows[topology.rank] if len(rows) == topology.world else rows.mean(dim=0)
            parts = torch.split(mine, [tensor.numel() for tensor in self._statistics])
            for tensor, values in zip(self._statistics, parts, strict=True):
                tensor.copy_(values.view(tensor.shape))


@torch.no_grad()
def restore_weights(network: nn.Module, saved: dict[str, Tensor]) -> None:
    """Give a network the saved parameters, before an engine makes copies of them.

    Raises UserError if they are those of another network.
    """
    if not saved:
        return
    weights = _weights(network)
    theirs = {name: tensor.shape for name, tensor in saved.items() if name.startswith("weights.")}
    if theirs != {name: tensor.shape for name, tensor in weights.items()}:
        raise UserError("the checkpoint is of another network, made by other code: remove its folder in unfinished/")
    for name, tensor in weights.items():
        tensor.copy_(saved[name])


def _weights(network: nn.Module) -> dict[str, Tensor]:
    """What all ranks hold alike: parameters, and buffers that count."""
    own = {id(tensor) for tensor in running_statistics(network)}
    tensors = network.state_dict(keep_vars=True).items()
    return {f"weights.{name}": tensor for name, tensor in tensors if id(tensor) not in own}
