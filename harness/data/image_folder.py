"""Pictures in folders, one folder per class: ImageNet and everything laid out like it.

Lives here: `ImageFolder` and the checks of a data folder. Must not: decoding (`harness.data._folder`).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data._listing import class_names, image_names
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
    max_side: int = 500
    jpeg_share: float = 0.5
    quality: int = 90

    def check(self, root: Path | None) -> None:
        """Raise UserError, naming the place, unless `root` holds both splits with the same `classes` classes."""
        self._checked(root)

    def listing(self, root: Path | None) -> str:
        """SHA-256 over the names of all images, in both splits."""
        folder = self._checked(root)
        names = [
            (split, name, image_names(folder / split / name))
            for split in ("train", "val")
            for name in class_names(folder / split)
        ]
        return hashlib.sha256(repr(names).encode()).hexdigest()

    def split(self, split: Split, root: Path | None) -> "FolderImages":
        """The images of one split, after `check`."""
        from harness.data._folder import FolderImages

        return FolderImages(self._checked(root) / split)

    def _checked(self, root: Path | None) -> Path:
        if root is None:
            raise UserError(f"{self.name} needs a data folder: {_WANTED}")
        if not root.is_dir():
            raise UserError(f"data folder {root} {'is not a folder' if root.exists() else 'does not exist'}: {_WANTED}")
        for split in ("train", "val"):
            if not (root / split).is_dir():
                raise UserError(f"data folder {root} has no {split}/ folder: {_WANTED}")
        names = {split: class_names(root / split) for split in ("train", "val")}
        for here, there in (("train", "val"), ("val", "train")):
            for name in names[here]:
                if name not in names[there]:
                    raise UserError(f"class {name!r} is in {root / here} but not in {root / there}: it must be in both")
        found = len(names["train"])
        if found == 0:
            raise UserError(f"data folder {root} holds no class folders: {_WANTED}")
        if self.classes not in (None, found):
            raise UserError(f"data folder {root} holds {found} classes, {self.name} has {self.classes}: {_WANTED}")
        for split in names:
            for name in names[split]:
                if not image_names(root / split / name):
                    raise UserError(f"class folder {root / split / name} holds no images: add some or remove it")
        return root
