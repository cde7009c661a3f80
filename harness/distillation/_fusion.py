"""The layers that `harness.distillation.review_kd` learns.

Lives here: `Fusion`. Must not: losses.
"""

from collections.abc import Sequence

import torch
from torch import Size, Tensor, nn
from torch.nn import functional as F


class Fusion(nn.Module):
    """Fuses each of the student's maps with what was fused of the later ones (Chen et al., CVPR 2021, figure 4)."""

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__()
        inside = min(512, student_channels[-1])
        channels = zip(student_channels, teacher_channels, strict=True)
        self.enter = nn.ModuleList(_convolution(mine, inside, 1) for mine in student_channels)
        self.leave = nn.ModuleList(_convolution(inside, theirs, 3) for _, theirs in channels)
        self.attend = nn.ModuleList(nn.Conv2d(2 * inside, 2, kernel_size=1) for _ in student_channels[1:])

    def forward(self, features: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        """Maps [n, channels, height, width], first layer first -> maps with the teacher's channels and `sizes`."""
        fused = _resized(self.enter[-1](features[-1]), sizes[-1])
        out = [self.leave[-1](fused)]
        for layer in reversed(range(len(features) - 1)):
            maps = self.enter[layer](features[layer])
            fused = _resized(self._attended(layer, maps, _resized(fused, maps.shape[2:])), sizes[layer])
            out.insert(0, self.leave[layer](fused))
        return out

    def _attended(self, layer: int, maps: Tensor, later: Tensor) -> Tensor:
        """The sum of both, each weighted in every place by a gate that sees both."""
        gates: Tensor = self.attend[layer](torch.cat([maps, later], dim=1)).sigmoid()
        return maps * gates[:, :1] + later * gates[:, 1:]


def _convolution(inputs: int, outputs: int, side: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _resized(maps: Tensor, size: Size) -> Tensor:
    """The nearest cell; as they are where the size is right."""
    return maps if maps.shape[2:] == size else F.interpolate(maps, size, mode="nearest")
