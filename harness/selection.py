"""The best epoch of a training, chosen on the minival.

Lives here: `Selection`. Must not: the loop, the split (`harness.data._minival`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from harness.context import Context
from harness.data.prepared import Prepared
from harness.engine.group import sum_over_ranks
from harness.engine.statistics import average_statistics, running_statistics
from harness.errors import UserError
from harness.metrics import correct
from harness.predictions import predictions
from harness.recipe import Recipe


class Selection:
    """Keeps a copy of the network as it was after the epoch with most hits; of equals, the first."""

    def __init__(self, network: nn.Module, recipe: Recipe, data: Prepared, context: Context) -> None:
        if "minival" not in data.facts.images:
            raise UserError(f"{data.facts.name} has no minival to choose an epoch on: prepare it with minival=0.1, say")
        self._network, self._data, self._context = network, data, context
        self._size = recipe.augment.size
        self._resize_ratio = 0.875 if recipe.augment.crop == "resized" else 1.0
        self._batch = recipe.batch_per_gpu
        self.tensors: dict[str, Tensor] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        """The best network so far, statistics averaged over ranks: the same on all of them."""

    def see(self, best: int) -> int:
        """Evaluate the network as it is now; returns the hits to beat from now on, `best` if it is not better."""
        with _averaged(self._network):
            hits = self._hits()
            if hits > best:
                for name, tensor in self._network.state_dict().items():
                    self.tensors[name].copy_(tensor)
        return max(hits, best)

    def replace_network(self) -> None:
        """Give the network what it was after its best epoch."""
        self._network.load_state_dict(self.tensors)

    def _hits(self) -> int:
        hits = torch.zeros(1, dtype=torch.int64, device=self._context.device)
        seen = predictions(
            self._network,
            self._data,
            "minival",
            self._context,
            size=self._size,
            resize_ratio=self._resize_ratio,
            batch=self._batch,
        )
        for logits, batch in seen:
            hits += correct(logits, batch.labels, (1,))
        return sum_over_ranks(hits)[0]


@contextmanager
def _averaged(network: nn.Module) -> Iterator[None]:
    """The network as it would be published: in evaluation, statistics the mean over ranks. Afterwards as before."""
    own = [buffer.clone() for buffer in running_statistics(network)]
    average_statistics(network)
    network.eval()
    try:
        yield
    finally:
        network.train()
        torch._foreach_copy_(running_statistics(network), own)
