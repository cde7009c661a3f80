"""Tiny-ImageNet as its official archive unpacks.

Lives here: `TinyImagenet` and the checks of its layout. Must not: decoding (`harness.data._folder`).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.data._listing import Listing, class_names, digest, image_names
from harness.data.source import Split
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.data._folder import FolderImages

_HOLDS = "tiny-imagenet-200"
_WANTED = f"pass --data DIR that holds {_HOLDS}/ from https://cs231n.stanford.edu/tiny-imagenet-200.zip"


@dataclass(frozen=True, kw_only=True)
class TinyImagenet:
    """200 ImageNet classes of 500 + 50 images, 64x64, from Stanford's CS231n; labels follow the sorted WordNet ids.

    DIR/tiny-imagenet-200/ holds train/<id>/images/*, and val/images/* with the class of each in
    val/val_annotations.txt. `val` is the official validation set: labels of the test set are not public. Copies laid
    out as train/<class>/* and val/<class>/* are for `ImageFolder`.
    """

    name: ClassVar[str] = "tiny_imagenet"
    classes: ClassVar[int] = 200
    # The figures that No & Park (ECCV 2022) normalise by, (0.480, 0.448, 0.397) and (0.276, 0.269, 0.282).
    mean: ClassVar[tuple[float, float, float]] = (122.4, 114.24, 101.235)
    std: ClassVar[tuple[float, float, float]] = (70.38, 68.595, 71.91)
    max_side: ClassVar[None] = None
    jpeg_share: ClassVar[float] = 0.0
    quality: ClassVar[int] = 90

    def check(self, root: Path | None) -> None:
        """Raise UserError, naming the place, unless `root` holds both splits with 200 classes."""
        self.listing(root)

    def listing(self, root: Path | None) -> dict[Split, str]:
        """SHA-256 over the names of all images of a split and their classes."""
        home = self._home(root)
        return {"train": digest(_train(home)), "val": digest(_val(home))}

    def split(self, split: Split, root: Path | None) -> "FolderImages":
        """The images of one split."""
        from harness.data._folder import FolderImages

        home = self._home(root)
        if split == "train":
            return FolderImages(_train(home), lambda name: home / "train" / name / "images")
        return FolderImages(_val(home), lambda _: home / "val" / "images")

    def _home(self, root: Path | None) -> Path:
        """The unpacked archive in `root`, if it has the right number of classes."""
        if root is None:
            raise UserError(f"{self.name} needs a data folder: {_WANTED}")
        home = root / _HOLDS
        if not (home / "train").is_dir():
            raise UserError(f"data folder {root} has no {_HOLDS}/train/: {_WANTED}")
        found = len(class_names(home / "train"))
        if found != self.classes:
            raise UserError(f"{home / 'train'} holds {found} classes, {self.name} has {self.classes}: {_WANTED}")
        return home


def _train(home: Path) -> Listing:
    """Every class in the order of its id. Raises UserError naming a class without images."""
    listing = {name: _images(home / "train" / name / "images") for name in class_names(home / "train")}
    for name, images in listing.items():
        if not images:
            raise UserError(f"class folder {home / 'train' / name} holds no images/*: unpack {_HOLDS}.zip again")
    return listing


def _val(home: Path) -> Listing:
    """The same classes. Raises UserError unless exactly the images that are there are annotated with them."""
    annotations = home / "val" / "val_annotations.txt"
    try:
        lines = [line.split("\t") for line in annotations.read_text().splitlines()]
    except OSError as error:
        raise UserError(f"cannot read {annotations} ({error.strerror}): unpack {_HOLDS}.zip again") from error
    classes = {line[0]: line[1] for line in lines if len(line) > 1}
    listing: dict[str, list[str]] = {name: [] for name in class_names(home / "train")}
    images = _images(home / "val" / "images")
    if set(images) != set(classes) or set(classes.values()) != set(listing):
        raise UserError(
            f"{annotations} does not give each of {home / 'val' / 'images'} a class of train/, "
            f"or a class has no image: unpack {_HOLDS}.zip again"
        )
    for image in images:
        listing[classes[image]].append(image)
    return listing


def _images(folder: Path) -> list[str]:
    return image_names(folder) if os.path.isdir(folder) else []
