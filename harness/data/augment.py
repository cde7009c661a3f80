"""What a training image goes through, as a spec.

Lives here: `Augment`. Must not: the arithmetic (`harness.data._boxes`) or the pixels (`harness.data._ffcv`).
"""

from dataclasses import dataclass
from typing import Literal

from harness.choices import require_choices


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

    def __post_init__(self) -> None:
        require_choices(self)
