"""From a source's images to one file that training reads fast.

Lives here: `write`. Must not: the file format (`harness.data._ffcv`), where files lie.
"""

from collections.abc import Callable, Iterable, Iterator
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
    patience_s: float,
    progress: Callable[[int, int], None],
) -> str:
    """Write sample i of the file from image i, and return the SHA-256 over the images' digests in order.

    The bytes depend on the images alone, not on `workers`. A write that did not come to its end is taken up behind its
    last finished page if `path` and the log beside it are still there and were written from the same images.

    An image may take `patience_s` seconds. `progress(done, total)` is called after each image or page taken up. Raises
    UserError naming the first image that cannot be read and how many more there are, or if `path` was begun from
    other images.
    """
    total = len(images)
    if total == 0:
        raise UserError(f"there are no images to write to {path}")
    storage = {"max_side": max_side, "jpeg_share": jpeg_share, "quality": quality}
    with Writer(path, images.labels, {"listing": images.listing, "images": total, **storage}, patience_s) as file:
        done = 0
        for done in file.resume(workers):
            progress(done, total)
        as_jpeg = uniform(STORE, np.arange(total)) < jpeg_share
        load = partial(_load, images, max_side, [quality if jpeg else None for jpeg in as_jpeg])
        rest = prefetched(load, range(done, total), workers, patience_s=patience_s, reading=f"the images for {path}")
        file.extend(_readable(rest, lambda read: progress(done + read, total)))
        return file.finish()


def _readable(
    images: Iterable[tuple[Encoded | UserError, str]], progress: Callable[[int], None]
) -> Iterator[tuple[Encoded, str]]:
    """The images up to the first that cannot be read; it is raised once all others have been looked at."""
    unreadable: list[UserError] = []
    for read, (image, digest) in enumerate(images, start=1):
        if isinstance(image, UserError):
            unreadable.append(image)
        elif not unreadable:
            yield image, digest
        progress(read)
    if unreadable:
        more = f"; and {len(unreadable) - 1} more images cannot be read" if len(unreadable) > 1 else ""
        raise UserError(f"{unreadable[0]}{more}") from unreadable[0]


def _load(
    images: Images, max_side: int | None, qualities: list[int | None], index: int
) -> tuple[Encoded | UserError, str]:
    """Read and encode one image; an image that cannot be read is a result, so that the others are looked at too."""
    try:
        pixels, digest = images[index]
    except UserError as error:
        return error, ""
    return encode(pixels, max_side=max_side, jpeg_quality=qualities[index]), digest
