"""What the removal of channels saves, counted before anything is removed.

Lives here: `Costs`. Must not: removal (`harness.pruning.channel`), measuring
(`harness.pruning.channel_latency`).
"""

import copy
import math

import torch
from torch import Tensor, nn

from harness.cost import macs
from harness.pruning.channel import Record, lost_shapes


class Costs:
    """A dense network's MACs and parameters, and what a record takes of them: exactly what `harness.cost` counts.

    The MACs of a layer are its weights times the positions it is used at, and channels leave the positions alone.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        """`example`: (1, 3, S, S)."""
        self._shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        self._lost = lost_shapes(model, example)
        self._positions = _positions(model, example)
        self._macs = macs(model, example.shape[-1])

    def macs_reduction(self, record: Record) -> float:
        """The share of the dense network's MACs that goes."""
        lost = self._numbers_lost(record)
        return sum(positions * lost[name] for name, positions in self._positions.items()) / self._macs

    def parameters_reduction(self, record: Record) -> float:
        """The share of the dense network's parameters that goes."""
        return sum(self._numbers_lost(record).values()) / sum(map(math.prod, self._shapes.values()))

    def _numbers_lost(self, record: Record) -> dict[str, int]:
        """How many numbers go from each parameter."""
        left = {name: list(shape) for name, shape in self._shapes.items()}
        for group in record["groups"]:
            for name, by_axis in self._lost[group["layer"]].items():
                for axis, each in enumerate(by_axis):
                    left[name][axis] -= each * len(group["removed"])
        return {name: math.prod(shape) - math.prod(left[name]) for name, shape in self._shapes.items()}


@torch.no_grad()
def _positions(model: nn.Module, example: Tensor) -> dict[str, int]:
    """How often each weight of a convolution or linear layer is used for one image: pixels, or tokens."""
    empty = copy.deepcopy(model).to("meta").eval()
    found: dict[str, int] = {}
    for name, layer in empty.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            channels = layer.weight.shape[0]

            def count(
                _: nn.Module, __: object, outputs: Tensor, key: str = f"{name}.weight", by: int = channels
            ) -> None:
                found[key] = found.get(key, 0) + outputs.numel() // by

            layer.register_forward_hook(count)
    empty(example.to("meta"))
    return found
