"""From a source's images to one file that training reads fast.

Lives here: `write`. Must not: the file format (`harness.data._ffcv`), where files lie.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from harness.data._draws import STORE, uniform
from harness.data._ffcv import Encoded, Writer, encode
from harness.data._prefetch import prefetched
from harness.data.source import Images
from harness.errors import UserError


def write(
    images: Images,
    path: Path,
    *,
    max_side: int | None,
    jpeg_share: float,
    quality: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Write sample i of the file from image i. The bytes depend on the images alone, not on `workers`.

    `progress(done, total)` is called after each image. Raises UserError naming the first image that cannot be read and
    how many more there are; the file is gone then.
    """
    if len(images) == 0:
        raise UserError(f"there are no images to write to {path}")
    as_jpeg = uniform(STORE, np.arange(len(images))) < jpeg_share
    unreadable: list[UserError] = []
    with Writer(path, len(images)) as file:
        load = partial(_load, images, max_side, [quality if jpeg else None for jpeg in as_jpeg])
        for done, (image, label) in enumerate(prefetched(load, range(len(images)), workers), start=1):
            if isinstance(image, UserError):
                unreadable.append(image)
            elif not unreadable:
                file.append(image, label)
            progress(done, len(images))
        if unreadable:
            more = f"; and {len(unreadable) - 1} more images cannot be read" if len(unreadable) > 1 else ""
            raise UserError(f"{unreadable[0]}{more}") from unreadable[0]


def _load(
    images: Images, max_side: int | None, qualities: list[int | None], index: int
) -> tuple[Encoded | UserError, int]:
    """Read and encode one image; an image that cannot be read is a result, so that the others are looked at too."""
    try:
        image, label = images[index]
    except UserError as error:
        return error, -1
    return encode(image, max_side=max_side, jpeg_quality=qualities[index]), label
