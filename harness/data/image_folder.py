"""Pictures in folders, one folder per class: ImageNet and everything laid out like it.

Lives here: `ImageFolder` and the checks of a data folder. Must not: decoding (`harness.data._folder`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data._listing import class_names, digest, listed
from harness.data.source import Split
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.data._folder import FolderImages

_WANTED = "pass --data DIR holding train/<class>/* and val/<class>/*"


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """DIR/train/<class>/* and DIR/val/<class>/*; labels follow the sorted class names.

    The defaults are those of ffcv-imagenet: longer side at most 500, half of the images as JPEG of quality 90.
    """

    name: str
    classes: int | None = None
    """None: as many as the folder holds."""
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """Per channel, in 0 .. 255; the default is ImageNet's."""
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    max_side: int | None = 500
    """Longest stored side, pixels; None stores every image as it is."""
    jpeg_share: float = 0.5
    """Fraction of the images that are stored as JPEG; the others are plain pixels."""
    quality: int = 90
    """Of those JPEGs, 1 .. 100."""

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < 1:
            raise UserError(f"max_side of {self.name} is {self.max_side}: it must be at least 1, or None")
        if not 0 <= self.jpeg_share <= 1:
            raise UserError(f"jpeg_share of {self.name} is {self.jpeg_share}: it must be between 0 and 1")
        if not 1 <= self.quality <= 100:
            raise UserError(f"quality of {self.name} is {self.quality}: it must be between 1 and 100")

    def check(self, root: Path | None) -> None:
        """Raise UserError, naming the place, unless `root` holds both splits with the same `classes` classes."""
        self.listing(root)

    def listing(self, root: Path | None) -> dict[Split, str]:
        """SHA-256 over the names of all images of a split."""
        return {split: digest(listed(folder)) for split, folder in self._folders(root).items()}

    def split(self, split: Split, root: Path | None) -> "FolderImages":
        """The images of one split; nothing of the other split but its class names is looked at."""
        from harness.data._folder import FolderImages

        folder = self._folders(root)[split]
        return FolderImages(listed(folder), folder.joinpath)

    def _folders(self, root: Path | None) -> dict[Split, Path]:
        """The folder of each split, if `root` is laid out as it must be."""
        if root is None:
            raise UserError(f"{self.name} needs a data folder: {_WANTED}")
        if not root.is_dir():
            raise UserError(f"data folder {root} {'is not a folder' if root.exists() else 'does not exist'}: {_WANTED}")
        folders: dict[Split, Path] = {"train": root / "train", "val": root / "val"}
        for split, folder in folders.items():
            if not folder.is_dir():
                raise UserError(f"data folder {root} has no {split}/ folder: {_WANTED}")
        train, val = (class_names(folder) for folder in folders.values())
        if train != val:
            name = min({*train} ^ {*val})
            here, there = ("train", "val") if name in train else ("val", "train")
            raise UserError(f"class {name!r} is in {root / here} but not in {root / there}: it must be in both")
        if not train:
            raise UserError(f"data folder {root} holds no class folders: {_WANTED}")
        if self.classes not in (None, len(train)):
            raise UserError(f"data folder {root} holds {len(train)} classes, {self.name} has {self.classes}: {_WANTED}")
        return folders
