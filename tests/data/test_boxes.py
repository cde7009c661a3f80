"""Which part of an image is taken: against the same rules written out one image at a time."""

import hashlib
import math
import os
import sys
from functools import partial
from pathlib import Path
from subprocess import PIPE, run
from typing import Literal

import numpy as np
import pytest

from harness.data._boxes import _exp, centre_boxes, training_boxes
from harness.data._draws import AREA, FLIP, LEFT, RATIO, TOP, hashed, uniform
from harness.data.augment import Augment

ROOT = Path(__file__).parents[2]
SEED, EPOCH = 4, 7


def draw(*words: int) -> float:
    return float(uniform(SEED, EPOCH, *words)[0])


def resized_by_hand(index: int, height: int, width: int, min_area: float) -> list[int]:
    mirrored = int(draw(FLIP, index) < 0.5)
    for attempt in range(10):
        area = height * width * (min_area + (1 - min_area) * draw(AREA, attempt, index))
        low, high = math.log(3 / 4), math.log(4 / 3)
        ratio = math.exp(low + (high - low) * draw(RATIO, attempt, index))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(draw(TOP, attempt, index) * (height - h + 1))
            return [top, int(draw(LEFT, attempt, index) * (width - w + 1)), h, w, mirrored]
    h, w = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    return [(height - h) // 2, (width - w) // 2, h, w, mirrored]


def boxes(augment: Augment, heights: list[int], widths: list[int]) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    count = len(heights)
    return training_boxes(augment, partial(uniform, SEED, EPOCH), np.arange(count), np.array(heights), np.array(widths))


@pytest.mark.parametrize("min_area", [0.08, 0.35])
def test_resized_boxes_follow_the_rule(min_area: float) -> None:
    heights, widths = [500, 375, 64, 30, 400] * 40, [375, 500, 64, 400, 30] * 40
    found = boxes(Augment(crop="resized", size=224, min_area=min_area), heights, widths)
    by_hand = [resized_by_hand(i, h, w, min_area) for i, (h, w) in enumerate(zip(heights, widths, strict=True))]
    assert found.tolist() == by_hand


def test_resized_boxes_cover_the_image_and_the_range() -> None:
    count = 20_000
    found = boxes(Augment(crop="resized", size=224), [300] * count, [400] * count)
    top, left, height, width, mirrored = found.T
    area, ratio = height * width / 120_000, width / height
    assert top.min() == 0 and (top + height).max() == 300
    assert left.min() == 0 and (left + width).max() == 400
    assert area.min() == pytest.approx(0.08, abs=0.005) and area.max() > 0.9
    assert ratio.min() > 0.74 and ratio.max() < 1.35
    assert abs(np.log(ratio)[area < 0.3].mean()) < 0.01, "flat and tall are equally likely while both fit"
    assert abs(mirrored.mean() - 0.5) < 0.018
    assert abs(np.corrcoef(mirrored, left)[0, 1]) < 0.036


def test_padded_boxes_take_every_offset_equally_often() -> None:
    found = boxes(Augment(crop="pad", size=32, pad=4), [32] * 8100, [32] * 8100)
    assert (found[:, 2:4] == 32).all()
    offsets, counts = np.unique(found[:, :2], axis=0, return_counts=True)
    assert offsets.tolist() == [[top, left] for top in range(-4, 5) for left in range(-4, 5)]
    assert counts.min() > 50 and counts.max() < 150


def test_no_crop_and_no_flip_is_the_centre_square() -> None:
    found = boxes(Augment(crop="none", size=32, flip=False), [32, 40, 31], [32, 30, 50])
    assert found.tolist() == [[0, 0, 32, 32, 0], [5, 0, 30, 30, 0], [0, 9, 31, 31, 0]]


def test_evaluation_takes_a_share_of_the_shorter_side() -> None:
    assert centre_boxes(224 / 256, np.array([256, 400]), np.array([300, 256])).tolist() == [
        [16, 38, 224, 224, 0],
        [88, 16, 224, 224, 0],
    ]


PINNED = {
    "pad": "899d85253b407acd516aa516fcee72fc5e2a862ff2d0e948033b1e9408209e21",
    "resized": "e4e228aafa951c3ad56c3c9319222af00ee1a05d30e49a564587dc54009e8023",
}


@pytest.mark.parametrize("crop", ["pad", "resized"])
def test_pinned_boxes(crop: Literal["pad", "resized"]) -> None:
    """Published results depend on them: a machine, or a change, that gives other ones gives another training run."""
    augment = Augment(crop=crop, size=32)
    heights, widths = (32 + hashed(word, np.arange(5000)).astype(np.int64) % 400 for word in (1, 2))
    digest = hashlib.sha256()
    for seed, epoch in ((0, 0), (0, 89), (3, 1)):
        found = training_boxes(augment, partial(uniform, seed, epoch), np.arange(5000), heights, widths)
        digest.update(found.astype("<i8").tobytes())
    assert digest.hexdigest() == PINNED[crop]


def test_the_exponential_is_one_unit_of_its_last_place_from_the_truth() -> None:
    x = np.linspace(-math.log(4 / 3), math.log(4 / 3), 10_001)
    expected = np.array([math.exp(value) for value in x])
    assert np.abs(_exp(x) / expected - 1).max() < 1e-15


def test_the_exponential_has_the_same_bits_on_an_older_processor() -> None:
    """Without fused multiply-add, the exponential of the C library, and with it numpy's, ends in other bits."""
    show = (
        "import numpy; from harness.data._boxes import _exp;"
        " print(_exp(numpy.linspace(-0.2876, 0.2876, 100_001)).tobytes().hex())"
    )
    instructions = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    older = {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
        "NPY_DISABLE_CPU_FEATURES": " ".join(instructions),
    }
    this, that = (
        run([sys.executable, "-c", show], cwd=ROOT, env={**os.environ, **env}, stdout=PIPE, check=True).stdout
        for env in ({}, older)
    )
    assert len(this) == 16 * 100_001 + 1
    assert this == that
