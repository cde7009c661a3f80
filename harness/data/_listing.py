"""What lies in a folder of pictures, by name alone.

Lives here: classes and their files. Must not: opening a file, comparing the two splits (`image_folder`).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

Listing = Mapping[str, list[str]]
"""The image names of each class, both sorted."""


def class_names(folder: Path) -> list[str]:
    """The classes of a split, sorted; hidden folders and plain files are none."""
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))


def image_names(folder: Path) -> list[str]:
    """The files of a class whose names look like pictures, sorted; nothing is opened."""
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES) and not name.startswith("."))


def listed(split: Path) -> Listing:
    """Everything in a split. Raises UserError naming a class without images."""
    listing = {name: image_names(split / name) for name in class_names(split)}
    for name, images in listing.items():
        if not images:
            raise UserError(f"class folder {split / name} holds no images: add some or remove it")
    return listing


def digest(listing: Listing) -> str:
    """64 hexadecimal digits that change when an image comes, goes or gets another name."""
    lines = hashlib.sha256()
    for name, images in listing.items():
        lines.update(json.dumps([name, images]).encode())
    return lines.hexdigest()
