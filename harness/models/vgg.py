"""CIFAR VGG with BatchNorm and free widths.

Lives here: the spec `VGG` and the standard plans. Must not: torch (the module is in `_vgg.py`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UserError

if TYPE_CHECKING:
    from torch import nn

_PLANS = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    19: ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
}


@dataclass(frozen=True, kw_only=True)
class VGG:
    """Blocks of 3x3 convolutions, max-pooling between them, one linear classifier.

    After Simonyan & Zisserman (ICLR 2015) in the CIFAR form of No & Park (ECCV 2022): convolution biases, BatchNorm,
    global average pooling, Kaiming-normal weights. Takes images (B, 3, S, S) with S at least 2^(blocks - 1).
    """

    blocks: tuple[tuple[int, ...], ...]
    """Output channels of every convolution, block by block."""
    classes: int

    def build(self) -> "nn.Module":
        """A network from (B, 3, S, S) to logits (B, classes), its weights drawn from torch's generator."""
        from harness.models._vgg import VGGModule

        return VGGModule(self.blocks, self.classes)


def vgg(*, depth: int, classes: int) -> VGG:
    """The standard plan of `depth` 11, 13, 16 or 19, which counts the three linear layers of the ImageNet form."""
    if depth not in _PLANS:
        raise UserError(f"VGG has no standard plan of depth {depth}: choose one of {', '.join(map(str, _PLANS))}")
    return VGG(blocks=_PLANS[depth], classes=classes)
