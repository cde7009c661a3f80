"""What lies in a folder of pictures, by name alone.

Lives here: classes and their files. Must not: opening a file, judging the layout (`image_folder`).
"""

import os
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def class_names(folder: Path) -> list[str]:
    """The classes of a split, sorted; hidden folders and plain files are none."""
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))


def image_names(folder: Path) -> list[str]:
    """The files of a class whose names look like pictures, sorted; nothing is opened."""
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES) and not name.startswith("."))
