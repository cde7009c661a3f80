"""Reading pictures from class folders.

Lives here: `FolderImages` and the way from any picture to RGB. Must not: checks of the layout (`image_folder`).
"""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data._listing import class_names, image_names
from harness.errors import UserError


class FolderImages:
    """The pictures below FOLDER/<class>/, ordered by class and file name."""

    def __init__(self, folder: Path) -> None:
        self.class_names = class_names(folder)
        self.labels: list[int] = []
        self._folder = folder
        self._names: list[str] = []
        for label, name in enumerate(self.class_names):
            found = [f"{name}/{image}" for image in image_names(folder / name)]
            self._names += found
            self.labels += [label] * len(found)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Pixels, uint8 [height, width, 3], and label. Raises UserError naming a file that cannot be read."""
        path = self._folder / self._names[index]
        try:
            return read_rgb(path), self.labels[index]
        except Exception as error:  # Pillow reports damage as OSError, SyntaxError, ValueError, struct.error and more
            raise UserError(f"cannot read image {path} ({error}): replace or remove it") from error

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the class names and every file's relative path and size; contents are not read."""
        digest = hashlib.sha256()
        for name in (*self.class_names, *self._names):
            size = (self._folder / name).stat().st_size if "/" in name else 0
            digest.update(f"{name}\0{size}\n".encode())
        return digest.hexdigest()


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """The pixels as uint8 [height, width, 3]. Grey, palette and CMYK become RGB, 16 bits are cut to the upper 8."""
    with Image.open(path) as image:
        if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip at 255
            grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.asarray(image.convert("RGB"))
