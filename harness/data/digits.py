"""The embedded set: 1,797 scanned digits that come with scikit-learn, so that a demonstration needs no download.

Lives here: `Digits`. Must not: anything the other datasets share.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.data.source import Split

if TYPE_CHECKING:
    from harness.data._arrays import ArrayImages

SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Digits of 8x8 pixels and 17 shades (Alpaydin and Kaynak 1998), enlarged to 32x32; 20 % are `val`."""

    seed: int = 0
    """Of the split; the figures below are those of seed 0."""
    name: ClassVar[str] = "digits"
    classes: ClassVar[int] = 10
    mean: ClassVar[tuple[float, float, float]] = (78.885, 78.885, 78.885)
    std: ClassVar[tuple[float, float, float]] = (88.951, 88.951, 88.951)
    max_side: ClassVar[None] = None
    jpeg_share: ClassVar[float] = 0.0
    quality: ClassVar[int] = 90

    def check(self, root: Path | None) -> None:
        """Nothing to check: the data come with a package."""

    def listing(self, root: Path | None) -> dict[Split, str]:
        """Always the same: the set is."""
        return {"train": self.name, "val": self.name}

    def split(self, split: Split, root: Path | None) -> "ArrayImages":
        """The images of one split; `root` is not needed."""
        import numpy as np
        from PIL import Image
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        from harness.data._arrays import ArrayImages

        scans, labels = load_digits(return_X_y=True)
        parts = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=self.seed)
        chosen = np.sort(parts[0] if split == "train" else parts[1])
        grey = (scans[chosen].reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
        large = [np.asarray(Image.fromarray(g).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for g in grey]
        pixels = np.repeat(np.stack(large)[..., None], 3, axis=3)
        return ArrayImages(pixels, labels[chosen], [str(digit) for digit in range(10)], listing=self.name)
