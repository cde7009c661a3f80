"""Fashion-MNIST from its official files.

Lives here: `FashionMnist`. Must not: anything the other datasets share.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.data._torchvision import require_folder, stored
from harness.data.source import Split
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.data._arrays import ArrayImages

_HOLDS = "FashionMNIST/raw/*.gz"


@dataclass(frozen=True, kw_only=True)
class FashionMnist:
    """10 classes of 6,000 + 1,000 images, 28x28 and grey (Xiao et al. 2017), stored as RGB.

    DIR holds the four official files in FashionMNIST/raw/, or receives them; they are unpacked there.
    """

    per_class: int | None = None
    """Only the first so many training images of each class; None: all. The test set stays whole."""
    classes: ClassVar[int] = 10
    mean: ClassVar[tuple[float, float, float]] = (72.940, 72.940, 72.940)
    std: ClassVar[tuple[float, float, float]] = (90.021, 90.021, 90.021)
    max_side: ClassVar[None] = None
    jpeg_share: ClassVar[float] = 0.0
    quality: ClassVar[int] = 90

    def __post_init__(self) -> None:
        if self.per_class is not None and not 1 <= self.per_class <= 6000:
            raise UserError(f"per_class of fashion_mnist is {self.per_class}: it must be between 1 and 6000, or None")

    @property
    def name(self) -> str:
        """Tells a small set from the whole one."""
        return "fashion_mnist" if self.per_class is None else f"fashion_mnist ({self.per_class} a class)"

    def check(self, root: Path | None) -> None:
        """Raise UserError unless a folder is named; the files themselves are downloaded if they are not there."""
        require_folder(root, self.name, _HOLDS)

    def listing(self, root: Path | None) -> dict[Split, str]:
        """Always the same: the set is."""
        return {"train": self.name, "val": self.name}

    def split(self, split: Split, root: Path | None) -> "ArrayImages":
        """The images of one split; `val` is the official test set. Downloads what is absent."""
        import numpy as np

        from harness.data._arrays import ArrayImages

        images = stored("FashionMNIST", split, require_folder(root, self.name, _HOLDS), _HOLDS)
        grey, labels = images.data.numpy(), images.targets.numpy()
        if split == "train" and self.per_class is not None:
            first = [np.flatnonzero(labels == label)[: self.per_class] for label in range(self.classes)]
            chosen = np.sort(np.concatenate(first))
            grey, labels = grey[chosen], labels[chosen]
        return ArrayImages(np.repeat(grey[..., None], 3, axis=3), labels, images.classes, listing=self.name)
