"""What `harness.self_distillation.be_your_own_teacher` learns beside the network.

Lives here: `Exits`. Must not: losses.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from harness.errors import UserError
from harness.taps import Taps


class Exits(nn.Module):
    """A branch from each tapped layer to a map like the deepest one's, which is averaged for a classifier of its own.

    A branch halves the map with 3x3 convolutions of stride 2, each with BatchNorm and ReLU, and doubles the channels
    up to the deepest ones'. The authors' convolutions are separable, and an attention comes before them.
    """

    def __init__(self, taps: Taps, side: int, classes: int) -> None:
        """The last of the tapped layers is the deepest. `side` is that of an image, in pixels."""
        super().__init__()
        self.taps = taps
        *shallow, (_, deepest) = taps.shapes(side).items()
        self.branches = nn.ModuleList(_branch(path, shape, deepest) for path, shape in shallow)
        self.classifiers = nn.ModuleList(nn.Linear(deepest[0], classes) for _ in shallow)

    def forward(self, features: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Maps [n, ...] of the exits' layers -> for each a map [n, channels, h, w] and logits [n, classes]."""
        maps = [branch(feature) for branch, feature in zip(self.branches, features, strict=True)]
        return [(last, classify(last.mean((2, 3)))) for classify, last in zip(self.classifiers, maps, strict=True)]


def _branch(path: str, shape: tuple[int, ...], deepest: tuple[int, ...]) -> nn.Sequential:
    """From maps of one shape (channels, height, width) to maps of another; of the same size, with stride 1."""
    (first, *_), (last, *_), halvings = shape, deepest, _halvings(path, shape, deepest)
    widths = [first, *(min(first * 2**step, last) for step in range(1, halvings)), last]
    return nn.Sequential(*(_block(*pair, stride=2 if halvings else 1) for pair in pairwise(widths)))


def _halvings(path: str, shape: tuple[int, ...], deepest: tuple[int, ...]) -> int:
    """How often stride 2 has to be applied. Raises UserError if it never leads there."""
    if len(shape) != 3 or len(deepest) != 3:
        raise UserError(f"layer {path!r} puts out {shape}, the deepest {deepest}: tap maps (channels, height, width)")
    (_, *sides), (_, *wanted), count = shape, deepest, 0
    while sides != wanted:
        if max(sides) == 1:
            raise UserError(f"layer {path!r} puts out {shape}, which halved does not become {deepest}: tap another one")
        sides, count = [-(-side // 2) for side in sides], count + 1
    return count


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
