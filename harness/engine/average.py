"""The running average of a network's weights.

Lives here: `Average`. Must not: when it is updated (`harness.loop`).
"""

import torch
from torch import Tensor, nn

from harness.engine.statistics import running_statistics


class Average:
    """Exponential moving average of parameters and BatchNorm's running statistics (Polyak & Juditsky 1992).

    It starts as the network itself; each update keeps the share `decay` of it. What is always zero stays zero.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        parameters = dict(network.named_parameters())
        self._source = [*parameters.values(), *running_statistics(network)]
        self.parameters: dict[str, Tensor] = {name: tensor.detach().clone() for name, tensor in parameters.items()}
        self.statistics = [tensor.clone() for tensor in running_statistics(network)]
        """In the order of `running_statistics`; every rank has its own."""

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network as it is now."""
        torch._foreach_lerp_([*self.parameters.values(), *self.statistics], self._source, 1 - self.decay)

    @torch.no_grad()
    def replace_network(self) -> None:
        """Give the network the averaged values."""
        torch._foreach_copy_(self._source, [*self.parameters.values(), *self.statistics])
