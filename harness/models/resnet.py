"""ResNet-18, -34 and -50 with one free width per stage.

Lives here: the spec `ResNet` and the plan that a paper names. Must not: torch (the module is in `_resnet.py`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.choices import require_choices
from harness.errors import UserError
from harness.spec import added_field

if TYPE_CHECKING:
    from torch import nn

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """He et al. (CVPR 2016); depth 50 has its stride in the 3x3 convolution. Modules are named as in torchvision.

    The `imagenet` stem is 7x7 with stride 2 and a max-pool; the `cifar` stem, for small images, is 3x3 with stride 1
    and no pool, also that of No & Park (ECCV 2022) for the 64x64 of Tiny-ImageNet. Shortcuts are the identity where
    shapes agree, a 1x1 projection elsewhere, whatever the widths.
    """

    depth: Literal[18, 34, 50]
    classes: int
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Channels of each stage's 3x3 convolutions; a stage puts out `expansion` times as many."""
    stem: Literal["imagenet", "cifar"] = "imagenet"
    stem_width: int = 64
    shortcut_scale: bool = added_field(default=False, neutral=False)
    """Identity shortcuts carry a learned factor for each channel, 1 at first (Tanaka et al., NeurIPS 2020)."""

    def __post_init__(self) -> None:
        require_choices(self)
        if len(self.widths) != 4:
            raise UserError(f"a ResNet has four stages, so four widths, not {len(self.widths)}: {self.widths}")

    @property
    def blocks(self) -> tuple[int, int, int, int]:
        """Residual blocks of each stage."""
        return _BLOCKS[self.depth]

    @property
    def expansion(self) -> int:
        """Output channels of a block per channel of its width: 4 for bottlenecks (depth 50), else 1."""
        return 4 if self.depth == 50 else 1

    def build(self) -> "nn.Module":
        """A network from (B, 3, S, S) to logits (B, classes), its weights drawn from torch's generator."""
        from harness.models._resnet import ResNetModule

        return ResNetModule(self)


def resnet18_dbl(*, classes: int, stem: Literal["imagenet", "cifar"]) -> ResNet:
    """ResNet-18 twice as wide, but for its stem (No & Park, ECCV 2022)."""
    return ResNet(depth=18, classes=classes, widths=(128, 256, 512, 1024), stem=stem)
