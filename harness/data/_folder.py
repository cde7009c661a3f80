"""Reading pictures from class folders.

Lives here: `FolderImages` and the way from any picture to RGB. Must not: checks of the layout (`image_folder`).
"""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data._listing import Listing, digest
from harness.errors import UserError


class FolderImages:
    """The pictures that are listed, in this order; `folder_of` tells where those of a class lie."""

    def __init__(self, listing: Listing, folder_of: Callable[[str], Path]) -> None:
        self.class_names = list(listing)
        self.labels = [label for label, names in enumerate(listing.values()) for _ in names]
        self.listing = digest(listing)
        self._folders = [folder_of(name) for name in listing]
        self._names = [image for images in listing.values() for image in images]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], str]:
        """Pixels, uint8 [height, width, 3], and the SHA-256 of the file. Raises UserError if it cannot be read."""
        path = self._folders[self.labels[index]] / self._names[index]
        try:
            content = path.read_bytes()
            return to_rgb(content), hashlib.sha256(content).hexdigest()
        except Exception as error:  # Pillow reports damage as OSError, SyntaxError, ValueError, struct.error and more
            raise UserError(f"cannot read image {path} ({error}): replace or remove it") from error


def to_rgb(content: bytes) -> NDArray[np.uint8]:
    """A picture as uint8 [height, width, 3]. Grey, palette and CMYK become RGB, 16 bits are cut to the upper 8."""
    with Image.open(io.BytesIO(content)) as image:
        if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip at 255
            grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.asarray(image.convert("RGB"))
