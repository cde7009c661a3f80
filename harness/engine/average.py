"""The running average of a network's weights.

Lives here: `Average`. Must not: when it is updated (`harness.loop`).
"""

from itertools import chain

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of parameters and BatchNorm's running statistics (Polyak & Juditsky 1992).

    It starts as the network itself; each update keeps the share `decay` of it. What is always zero stays zero.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._source = _tensors(network)
        self.tensors = {name: tensor.detach().clone() for name, tensor in self._source.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network as it is now."""
        torch._foreach_lerp_(list(self.tensors.values()), list(self._source.values()), 1 - self.decay)

    @torch.no_grad()
    def replace_network(self) -> None:
        """Give the network the averaged values."""
        for name, tensor in self._source.items():
            tensor.copy_(self.tensors[name])


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    named = chain(network.named_parameters(), network.named_buffers())
    return {name: tensor for name, tensor in named if tensor.is_floating_point()}
