"""What a training image goes through, as a spec.

Lives here: `Augment`. Must not: the arithmetic (`harness.data._boxes`) or the pixels (`harness.data._ffcv`).
"""

from dataclasses import dataclass
from typing import Literal

from harness.choices import require_choices
from harness.errors import UserError
from harness.spec import added_field


@dataclass(frozen=True, kw_only=True)
class Augment:
    """`none`: the centre square. `pad`: add a black border, crop `size` (CIFAR). `resized`: a random box (ImageNet)."""

    crop: Literal["none", "pad", "resized"]
    size: int
    """Side of the square that comes out, in pixels."""
    pad: int = 4
    """Width of the border, in pixels."""
    min_area: float = 0.08
    """Smallest share of the image's area that `resized` takes; the aspect ratio lies in 3/4 .. 4/3."""
    flip: bool = True
    """Mirror every second image, by the hash."""
    sizes: tuple[tuple[int, int], ...] = added_field(default=(), neutral=())
    """Progressive resizing: pairs (epoch, side). From that epoch on `resized` gives images of this side; before the
    first pair, and where there is none, of `size`."""

    def __post_init__(self) -> None:
        require_choices(self)
        if self.sizes and self.crop != "resized":
            raise UserError(f"sizes {self.sizes} belong to the crop 'resized', this one is {self.crop!r}")
        epochs = [epoch for epoch, _ in self.sizes]
        if any(epoch < 0 for epoch in epochs) or epochs != sorted(set(epochs)):
            raise UserError(f"the epochs of sizes {self.sizes} do not rise from 0 on: write them in order, each once")
        if any(side < 1 for _, side in self.sizes):
            raise UserError(f"sizes {self.sizes} hold a side below one pixel: write pairs (epoch, side)")

    def size_at(self, epoch: int) -> int:
        """Side of the square that comes out in this epoch, in pixels."""
        return next((side for start, side in reversed(self.sizes) if start <= epoch), self.size)
