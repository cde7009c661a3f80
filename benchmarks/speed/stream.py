"""The seeded stream against the same pipeline of FFCV's own, whose crops and flips cannot be seeded.

Lives here: an epoch of either, on the same file. FFCV is imported because a baseline is the package itself.
Must not: the stream (`harness.data.stream`).
"""

from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import torch
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage

from benchmarks.speed.interleaved import in_turns, seconds
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.photographs import BATCH, SIZE, SOURCE, Photographs


def measure(scratch: Path, data: Path | None) -> Iterator[Measurement]:
    """Epochs with one worker and with two."""
    photographs = Photographs.of(data, scratch)
    file = scratch / "photographs.beton"
    photographs.prepare(file, max_side=SOURCE.max_side)
    for workers in (1, 2):
        mine, theirs = epochs(photographs, file, workers)
        yield Measurement(
            name=f"stream: workers: {workers}",
            setting=f"{photographs.origin}, batch {BATCH}, stored at {SOURCE.max_side}, half as JPEG,"
            f" torch threads: {workers}",
            baseline="ffcv Loader, unseeded crop and flip, NormalizeImage",
            means="times as fast", aim=0.95, unit="s", ours=mine, baseline_took=theirs,
        )  # fmt: skip


def epochs(photographs: Photographs, file: Path, workers: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds per epoch of either side, always to its end: FFCV leaks a thread when an epoch is left."""
    stream, numbers = photographs.stream(file, workers=workers), count()
    loader = ffcv_loader(file, workers)
    torch.set_num_threads(workers)  # as FFCV's loader does at each epoch, for the whole process
    return in_turns(
        lambda: seconds(lambda: photographs.consume(batch.images for batch in stream.epoch(next(numbers)))),
        lambda: seconds(lambda: photographs.consume(images for images, _ in loader)),
        turns=5,
    )


@cache  # numba writes an error when compiled code of FFCV's is collected before the process ends
def ffcv_loader(file: Path, workers: int) -> Loader:
    """FFCV's own pipeline, all of it compiled (by its first epoch): faster on a CPU than to normalise in torch."""
    normalise = NormalizeImage(np.array(SOURCE.mean), np.array(SOURCE.std), np.float32)
    crop = RandomResizedCropRGBImageDecoder((SIZE, SIZE))
    return Loader(
        str(file), BATCH, num_workers=workers, os_cache=True, order=OrderOption.RANDOM,
        pipelines={
            "image": [crop, RandomHorizontalFlip(), normalise, ToTensor(), ToTorchImage()],
            "label": [IntDecoder(), ToTensor(), Squeeze()],
            "index": None,
        },
    )  # fmt: skip
