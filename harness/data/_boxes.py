"""Which part of each image is taken, and whether it is mirrored.

Lives here: the boxes of training and of evaluation, as numbers. Must not: pixels.

A box is a row of five whole numbers: top, left, height, width (in pixels of the stored image) and 1 if it is
mirrored. A box of the size that comes out is copied and may reach over the edge, where it is black; any other lies
inside the image and is resized.
"""

import math

import numpy as np
from numpy.typing import NDArray

from harness.data._draws import AREA, FLIP, LEFT, RATIO, TOP, uniform
from harness.data.augment import Augment

Ints = NDArray[np.int64]

_LOG_RATIO = math.log(4 / 3)
_ATTEMPTS = 10


def training_boxes(augment: Augment, seed: int, epoch: int, indices: Ints, heights: Ints, widths: Ints) -> Ints:
    """The boxes [n, 5] of the samples `indices` in one epoch; `heights` and `widths` [n] are theirs."""
    if augment.crop == "pad":
        boxes = _padded(augment, seed, epoch, indices, heights, widths)
    elif augment.crop == "resized":
        boxes = _resized(augment.min_area, seed, epoch, indices, heights, widths)
    else:
        boxes = centre_boxes(1.0, heights, widths)
    if augment.flip:
        boxes[:, 4] = uniform(seed, epoch, FLIP, indices) < 0.5
    return boxes


def centre_boxes(share: float, heights: Ints, widths: Ints) -> Ints:
    """The central square [n, 5] whose side is `share` of the shorter side, not mirrored."""
    side = np.rint(share * np.minimum(heights, widths)).astype(np.int64)
    return _stack((heights - side) // 2, (widths - side) // 2, side, side)


def _padded(augment: Augment, seed: int, epoch: int, indices: Ints, heights: Ints, widths: Ints) -> Ints:
    """A square of `size` anywhere in the image padded by `pad` on each side (He et al. 2016, section 4.2)."""
    size, pad = augment.size, augment.pad
    top = _below(heights + 2 * pad - size + 1, uniform(seed, epoch, TOP, indices)) - pad
    left = _below(widths + 2 * pad - size + 1, uniform(seed, epoch, LEFT, indices)) - pad
    return _stack(top, left, np.full_like(top, size), np.full_like(top, size))


def _resized(min_area: float, seed: int, epoch: int, indices: Ints, heights: Ints, widths: Ints) -> Ints:
    """A random share of the area at a log-uniform aspect ratio (Szegedy et al. 2015), the first of ten tries that fits.

    Where none fits: the largest central box whose aspect ratio is allowed.
    """
    boxes = _largest_allowed(heights, widths)
    undecided = np.ones(len(indices), dtype=bool)
    for attempt in range(_ATTEMPTS):
        area = heights * widths * (min_area + (1 - min_area) * uniform(seed, epoch, AREA, attempt, indices))
        ratio = np.exp(_LOG_RATIO * (2 * uniform(seed, epoch, RATIO, attempt, indices) - 1))
        width = np.rint(np.sqrt(area * ratio)).astype(np.int64)
        height = np.rint(np.sqrt(area / ratio)).astype(np.int64)
        fits = undecided & (width > 0) & (width <= widths) & (height > 0) & (height <= heights)
        top = _below(heights - height + 1, uniform(seed, epoch, TOP, attempt, indices))
        left = _below(widths - width + 1, uniform(seed, epoch, LEFT, attempt, indices))
        boxes[fits] = _stack(top, left, height, width)[fits]
        undecided &= ~fits
        if not undecided.any():
            break
    return boxes


def _largest_allowed(heights: Ints, widths: Ints) -> Ints:
    height = np.minimum(heights, np.rint(widths * 4 / 3).astype(np.int64))
    width = np.minimum(widths, np.rint(heights * 4 / 3).astype(np.int64))
    return _stack((heights - height) // 2, (widths - width) // 2, height, width)


def _below(count: Ints, share: NDArray[np.float64]) -> Ints:
    """A whole number in 0 .. count - 1 for each share in [0, 1)."""
    return np.floor(share * count).astype(np.int64)


def _stack(top: Ints, left: Ints, height: Ints, width: Ints) -> Ints:
    return np.stack([top, left, height, width, np.zeros_like(top)], axis=1)
