"""Caltech-UCSD Birds-200-2011 as its official archive unpacks.

Lives here: `Cub200` and the checks of its text files. Must not: decoding (`harness.data._folder`).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.data._listing import Listing, digest
from harness.data.source import Split
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.data._folder import FolderImages

_HOLDS = "CUB_200_2011"
_WANTED = f"pass --data DIR that holds {_HOLDS}/ from https://data.caltech.edu/records/20098"
_AGAIN = f"unpack {_HOLDS}.tgz again"


@dataclass(frozen=True, kw_only=True)
class Cub200:
    """200 species of birds in 5,994 + 5,794 photos (Wah et al. 2011); labels are the official class ids less one.

    DIR/CUB_200_2011/ holds images/<class>/* and, naming them, images.txt, image_class_labels.txt, train_test_split.txt
    and classes.txt. `val` is the official test split: there is no other. Bounding boxes are not used.
    """

    name: ClassVar[str] = "cub200"
    classes: ClassVar[int] = 200
    # ImageNet's, by which CS-KD (Yun et al., CVPR 2020) and most others normalise these photos.
    mean: ClassVar[tuple[float, float, float]] = (123.675, 116.28, 103.53)
    std: ClassVar[tuple[float, float, float]] = (58.395, 57.12, 57.375)
    max_side: ClassVar[None] = None
    # Longer sides are about 500: plain pixels would be 6 GB, these JPEGs are some hundred MB.
    jpeg_share: ClassVar[float] = 1.0
    quality: ClassVar[int] = 90

    def check(self, root: Path | None) -> None:
        """Raise UserError, naming the place, unless `root` holds both splits with 200 classes."""
        self.listing(root)

    def listing(self, root: Path | None) -> dict[Split, str]:
        """SHA-256 over the names of all images of a split and their classes."""
        return {split: digest(listing) for split, listing in _listings(_home(root)).items()}

    def split(self, split: Split, root: Path | None) -> "FolderImages":
        """The images of one split."""
        from harness.data._folder import FolderImages

        home = _home(root)
        return FolderImages(_listings(home)[split], (home / "images").joinpath)


def _home(root: Path | None) -> Path:
    """The unpacked archive in `root`."""
    if root is None:
        raise UserError(f"{Cub200.name} needs a data folder: {_WANTED}")
    home = root / _HOLDS
    if not home.is_dir():
        raise UserError(f"data folder {root} has no {_HOLDS}/: {_WANTED}")
    return home


def _listings(home: Path) -> dict[Split, Listing]:
    """Both splits, every class in the order of its id. Raises UserError unless text files and images fit together."""
    classes = _classes(home / "classes.txt")
    images = _table(home / "images.txt", r"[^/\s]+/[^/\s]+", distinct=True)
    labels = _of_each(images, home / "image_class_labels.txt", "[0-9]+")
    is_train = _of_each(images, home / "train_test_split.txt", "[01]")
    train: dict[str, list[str]] = {classes[number]: [] for number in sorted(classes)}
    val: dict[str, list[str]] = {name: [] for name in train}
    for number in sorted(images, key=images.__getitem__):
        folder, file = images[number].split("/")
        if folder != classes.get(int(labels[number])):
            raise UserError(
                f"image {number} of {home / 'images.txt'} lies in {folder}, which is not class {labels[number]} of "
                f"classes.txt as image_class_labels.txt says: {_AGAIN}"
            )
        (train if is_train[number] == "1" else val)[folder].append(file)
    _require_images(home, train, val)
    return {"train": train, "val": val}


def _classes(path: Path) -> dict[int, str]:
    """The name of each class id."""
    classes = _table(path, r"[^/\s]+", distinct=True)
    if classes.keys() != set(range(1, Cub200.classes + 1)):
        raise UserError(
            f"{path} lists {len(classes)} classes, {Cub200.name} has {Cub200.classes}, numbered from 1: {_AGAIN}"
        )
    return classes


def _table(path: Path, value: str, *, distinct: bool = False) -> dict[int, str]:
    """The value of each id in a file of lines "<id> <value>"; `value` is a pattern, `distinct` forbids it twice."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): {_AGAIN}") from error
    table: dict[int, str] = {}
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        found = re.fullmatch(f"([0-9]+) ({value})", line)
        if not found:
            raise UserError(f"line {number} of {path} is damaged, {line!r}: {_AGAIN}")
        if int(found[1]) in table or (distinct and found[2] in seen):
            raise UserError(f"line {number} of {path} repeats an earlier one, {line!r}: {_AGAIN}")
        table[int(found[1])] = found[2]
        seen.add(found[2])
    return table


def _of_each(images: Mapping[int, str], path: Path, value: str) -> dict[int, str]:
    """What a file says of each image. Raises UserError unless it has exactly the ids of images.txt."""
    table = _table(path, value)
    odd = min(table.keys() ^ images.keys(), default=None)
    if odd is not None:
        here, there = ("images.txt", path.name) if odd in images else (path.name, "images.txt")
        raise UserError(f"image {odd} is in {path.with_name(here)} but not in {there}: {_AGAIN}")
    return table


def _require_images(home: Path, train: Listing, val: Listing) -> None:
    """Raise UserError naming an image that is listed but not there, or a class without images in a split."""
    for name in train:
        for images, kind in ((train[name], "training"), (val[name], "test")):
            if not images:
                raise UserError(f"{home / 'train_test_split.txt'} leaves {name} without {kind} images: {_AGAIN}")
        folder = home / "images" / name
        missing = {*train[name], *val[name]}.difference(os.listdir(folder) if folder.is_dir() else [])
        if missing:
            raise UserError(f"image {folder / min(missing)} is in images.txt, but the file is not there: {_AGAIN}")
