"""CIFAR-10 from its official archive.

Lives here: `Cifar10`. Must not: anything the other datasets share.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.data._torchvision import require_folder, stored
from harness.data.source import Split

if TYPE_CHECKING:
    from harness.data._arrays import ArrayImages

_HOLDS = "cifar-10-batches-py/"


@dataclass(frozen=True, kw_only=True)
class Cifar10:
    """10 classes of 5,000 + 1,000 images, 32x32 (Krizhevsky 2009). DIR holds cifar-10-batches-py/, or receives it."""

    name: ClassVar[str] = "cifar10"
    classes: ClassVar[int] = 10
    mean: ClassVar[tuple[float, float, float]] = (125.307, 122.950, 113.865)
    std: ClassVar[tuple[float, float, float]] = (62.993, 62.089, 66.705)
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

        images = stored("CIFAR10", split, require_folder(root, self.name, _HOLDS), _HOLDS)
        return ArrayImages(images.data, images.targets, images.classes, listing=self.name)
