"""How many images go through a network, whoever sends them.

Lives here: `CountedImages`. Must not: what the network is asked for.
"""

from types import TracebackType
from typing import Any

from torch import nn


class CountedImages:
    """Counts the images of every forward while in use, those that are computed again for a gradient included."""

    def __init__(self, network: nn.Module) -> None:
        self.images = 0
        self._hook = network.register_forward_pre_hook(self._count)

    def __enter__(self) -> "CountedImages":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()

    def _count(self, network: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.images += len(inputs[0])
