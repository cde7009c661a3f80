"""CIFAR-100 from its official archive.

Lives here: `Cifar100`. Must not: anything the other datasets share.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.data._torchvision import require_folder, stored
from harness.data.source import Split

if TYPE_CHECKING:
    from harness.data._arrays import ArrayImages

_HOLDS = "cifar-100-python/"


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
        require_folder(root, self.name, _HOLDS)

    def listing(self, root: Path | None) -> dict[Split, str]:
        """Always the same: the set is."""
        return {"train": self.name, "val": self.name}

    def split(self, split: Split, root: Path | None) -> "ArrayImages":
        """The images of one split; `val` is the official test set. Downloads what is absent."""
        from harness.data._arrays import ArrayImages

        images = stored("CIFAR100", split, require_folder(root, self.name, _HOLDS), _HOLDS)
        return ArrayImages(images.data, images.targets, images.classes, listing=self.name)
