"""CIFAR-100 from its official archive.

Lives here: `Cifar100`. Must not: anything the other datasets share.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.data.source import Split
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.data._arrays import ArrayImages


@dataclass(frozen=True, kw_only=True)
class Cifar100:
    """100 classes of 500 + 100 images, 32x32 (Krizhevsky 2009). DIR holds cifar-100-python/, or receives it."""

    name: ClassVar[str] = "cifar100"
    classes: ClassVar[int] = 100
    mean: ClassVar[tuple[float, float, float]] = (129.304, 124.070, 112.434)
    std: ClassVar[tuple[float, float, float]] = (68.170, 65.392, 70.418)
    max_side: ClassVar[None] = None
    jpeg_share: ClassVar[float] = 0.0
    quality: ClassVar[int] = 90

    def check(self, root: Path | None) -> None:
        """Raise UserError unless a folder is named; the archive itself is downloaded if it is not there."""
        if root is None:
            raise UserError("cifar100 needs a data folder: pass --data DIR that holds or may receive cifar-100-python/")

    def listing(self, root: Path | None) -> dict[Split, str]:
        """Always the same: the set is."""
        return {"train": self.name, "val": self.name}

    def split(self, split: Split, root: Path | None) -> "ArrayImages":
        """The images of one split; `val` is the official test set. Downloads what is absent."""
        from torchvision.datasets import CIFAR100

        from harness.data._arrays import ArrayImages

        self.check(root)
        try:
            stored = CIFAR100(str(root), train=split == "train", download=True)
        except (OSError, RuntimeError) as error:
            raise UserError(f"no CIFAR-100 in {root}, and it cannot be downloaded ({error}): place it there") from error
        return ArrayImages(stored.data, stored.targets, stored.classes, listing=self.name)
