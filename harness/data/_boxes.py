"""Which part of each image is taken, and whether it is mirrored.

Lives here: the boxes of training and of evaluation, as numbers. Must not: pixels.

A box is a row of five whole numbers: top, left, height, width (in pixels of the stored image) and 1 if it is
mirrored. A box of the size that comes out is copied and may reach over the edge, where it is black; any other lies
inside the image and is resized.
"""

from collections.abc import Callable
from math import factorial

import numpy as np
from numpy.typing import NDArray

from harness.data._draws import AREA, FLIP, LEFT, RATIO, TOP
from harness.data.augment import Augment

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Draw = Callable[..., Floats]
"""Numbers in [0, 1) from a purpose, an attempt if there are several, and sample numbers [n]."""

_LOG_RATIO = 0.28768207245178085  # log(4 / 3)
_EXP = [1 / factorial(k) for k in range(13, -1, -1)]
_ATTEMPTS = 10


def training_boxes(augment: Augment, draw: Draw, indices: Ints, heights: Ints, widths: Ints) -> Ints:
    """The boxes [n, 5] that `draw` gives to the samples `indices`, of images `heights` [n] by `widths` [n].

    Only arithmetic that every processor rounds alike (+ - * / sqrt rint floor): a box is the same on all of them.
    """
    if augment.crop == "pad":
        boxes = _padded(augment, draw, indices, heights, widths)
    elif augment.crop == "resized":
        boxes = _resized(augment.min_area, draw, indices, heights, widths)
    else:
        boxes = centre_boxes(1.0, heights, widths)
    if augment.flip:
        boxes[:, 4] = draw(FLIP, indices) < 0.5
    return boxes


def centre_boxes(share: float, heights: Ints, widths: Ints) -> Ints:
    """The central square [n, 5] whose side is `share` of the shorter side, not mirrored."""
    side = np.rint(share * np.minimum(heights, widths)).astype(np.int64)
    return _stack((heights - side) // 2, (widths - side) // 2, side, side)


def _padded(augment: Augment, draw: Draw, indices: Ints, heights: Ints, widths: Ints) -> Ints:
    """A square of `size` anywhere in the image padded by `pad` on each side (He et al. 2016, section 4.2)."""
    size, pad = augment.size, augment.pad
    top = _below(heights + 2 * pad - size + 1, draw(TOP, indices)) - pad
    left = _below(widths + 2 * pad - size + 1, draw(LEFT, indices)) - pad
    return _stack(top, left, np.full_like(top, size), np.full_like(top, size))


def _resized(min_area: float, draw: Draw, indices: Ints, heights: Ints, widths: Ints) -> Ints:
    """A random share of the area at a log-uniform aspect ratio (Szegedy et al. 2015), the first of ten tries that fits.

    Where none fits: the largest central box whose aspect ratio is allowed.
    """
    boxes = _largest_allowed(heights, widths)
    undecided = np.ones(len(indices), dtype=bool)
    for attempt in range(_ATTEMPTS):
        area = heights * widths * (min_area + (1 - min_area) * draw(AREA, attempt, indices))
        ratio = _exp(_LOG_RATIO * (2 * draw(RATIO, attempt, indices) - 1))
        width = np.rint(np.sqrt(area * ratio)).astype(np.int64)
        height = np.rint(np.sqrt(area / ratio)).astype(np.int64)
        fits = undecided & (width > 0) & (width <= widths) & (height > 0) & (height <= heights)
        top = _below(heights - height + 1, draw(TOP, attempt, indices))
        left = _below(widths - width + 1, draw(LEFT, attempt, indices))
        boxes[fits] = _stack(top, left, height, width)[fits]
        undecided &= ~fits
        if not undecided.any():
            break
    return boxes


def _largest_allowed(heights: Ints, widths: Ints) -> Ints:
    height = np.minimum(heights, np.rint(widths * 4 / 3).astype(np.int64))
    width = np.minimum(widths, np.rint(heights * 4 / 3).astype(np.int64))
    return _stack((heights - height) // 2, (widths - width) // 2, height, width)


def _exp(x: Floats) -> Floats:
    """e**x for |x| < 0.3 by its Taylor polynomial: the last bit of `np.exp` depends on the processor."""
    value = np.full_like(x, _EXP[0])
    for coefficient in _EXP[1:]:
        value = value * x + coefficient
    return value


def _below(count: Ints, share: Floats) -> Ints:
    """A whole number in 0 .. count - 1 for each share in [0, 1)."""
    return np.floor(share * count).astype(np.int64)


def _stack(top: Ints, left: Ints, height: Ints, width: Ints) -> Ints:
    return np.stack([top, left, height, width, np.zeros_like(top)], axis=1)
