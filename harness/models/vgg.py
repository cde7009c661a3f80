"""VGG with BatchNorm, free widths and a free classifier.

Lives here: the spec `VGG` and the plans that papers name. Must not: torch (the module is in `_vgg.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.spec import added_field

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
    """Blocks of 3x3 convolutions, max-pooling between them, average pooling and linear layers behind.

    After Simonyan & Zisserman (ICLR 2015) in the CIFAR form of No & Park (ECCV 2022): convolution biases, BatchNorm,
    Kaiming-normal weights, by default one linear layer. Takes images (B, 3, S, S) with S at least 2^(blocks - 1).
    """

    blocks: tuple[tuple[int, ...], ...]
    """Output channels of every convolution, block by block."""
    classes: int
    hidden: tuple[int, ...] = added_field(default=(), neutral=())
    """Sizes of the linear layers before the last one; ReLU and dropout follow each."""
    dropout: float = added_field(default=0.0, neutral=0.0)
    """Share of each hidden layer's outputs that is dropped while training."""
    pooled: int = added_field(default=1, neutral=1)
    """Side, in pixels, of the maps the classifier sees: it has pooled^2 inputs for each of the last channels."""

    def __post_init__(self) -> None:
        if min((self.pooled, *self.hidden)) < 1:
            raise UserError(f"sizes of a VGG are at least 1: hidden is {self.hidden}, pooled is {self.pooled}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout of a VGG is {self.dropout}: it must be at least 0 and less than 1")
        if self.dropout and not self.hidden:
            raise UserError(f"dropout of a VGG is {self.dropout}, but it follows hidden layers and there are none")

    @property
    def block_ends(self) -> tuple[str, ...]:
        """Module paths of what each block puts out, to tap features at."""
        ends, place = [], -1
        for number, block in enumerate(self.blocks):
            place += 3 * len(block) + (number > 0)  # convolution, BatchNorm, ReLU; a pool before all blocks but one
            ends.append(f"features.{place}")
        return tuple(ends)

    def build(self) -> "nn.Module":
        """A network from (B, 3, S, S) to logits (B, classes), its weights drawn from torch's generator."""
        from harness.models._vgg import VGGModule

        return VGGModule(self)


def vgg(*, depth: int, classes: int) -> VGG:
    """The standard plan of `depth` 11, 13, 16 or 19, which counts the three linear layers of the ImageNet form."""
    if depth not in _PLANS:
        raise UserError(f"VGG has no standard plan of depth {depth}: choose one of {', '.join(map(str, _PLANS))}")
    return VGG(blocks=_PLANS[depth], classes=classes)


def vgg_of_widths(widths: Sequence[int], *, classes: int) -> VGG:
    """A VGG19 with other widths: 16 numbers of channels, in the order of the convolutions."""
    sizes = [len(block) for block in _PLANS[19]]
    if len(widths) != sum(sizes):
        raise UserError(f"a VGG19 has {sum(sizes)} convolutions, so as many widths, not {len(widths)}: {widths}")
    rest = iter(widths)
    return VGG(blocks=tuple(tuple(islice(rest, size)) for size in sizes), classes=classes)


def vgg19_dbl(*, classes: int) -> VGG:
    """VGG19 twice as wide, but for its first and last convolution (No & Park, ECCV 2022)."""
    return vgg_of_widths([64, 128, *[256] * 2, *[512] * 4, *[1024] * 7, 512], classes=classes)


def vgg19_cl1(*, classes: int) -> VGG:
    """The first hand-made student of VGG19's depth, with 55 % of its weights (No & Park, ECCV 2022)."""
    return vgg_of_widths([*[64] * 4, *[128] * 4, *[256] * 4, *[512] * 4], classes=classes)


def vgg19_cl2(*, classes: int) -> VGG:
    """The second hand-made student of VGG19's depth, with 49 % of its weights (No & Park, ECCV 2022)."""
    widths = [64, 39, 179, 79, 354, 155, 362, 146, 614, 247, 500, 158, 271, 139, 547, 512]
    return vgg_of_widths(widths, classes=classes)


def vgg16_tiny(*, classes: int = 200) -> VGG:
    """The VGG16 of No & Park (ECCV 2022) for Tiny-ImageNet's 64x64: linear layers of 2048, 1024 and 1024 inputs.

    They halve the last maps, 4x4, by the maximum; here it is by the mean.
    """
    return VGG(blocks=_PLANS[16], classes=classes, hidden=(1024, 1024), dropout=0.5, pooled=2)
