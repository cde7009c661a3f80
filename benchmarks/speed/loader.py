"""Training batches of 224-pixel crops, flipped and normalised, against torchvision's ImageFolder behind a DataLoader.

Lives here: an epoch of either. Must not: the stream (`harness.data.stream`).

The baseline reads the JPEG files as they are; preparing the file, once for all trainings, is not timed.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.speed.interleaved import in_turns, seconds
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.photographs import BATCH, SIZE, SOURCE, Photographs


def measure(scratch: Path, data: Path | None) -> Iterator[Measurement]:
    """Epochs with one worker and with two, of images stored with at most 400 and at most 500 pixels a side."""
    photographs = Photographs.of(data, scratch)
    for max_side in (400, 500):
        file = scratch / f"{max_side}.beton"
        photographs.prepare(file, max_side=max_side)
        for workers in (1, 2):
            mine, theirs = epochs(photographs, file, workers)
            yield Measurement(
                name=f"loader: stored at {max_side}, workers: {workers}",
                setting=f"{photographs.origin}, batch {BATCH}, half stored as JPEG, torch threads: {workers}",
                baseline="torchvision ImageFolder (PIL), torch DataLoader",
                means="times as fast", aim=2.4, unit="s", ours=mine, baseline_took=theirs,
            )  # fmt: skip


def epochs(photographs: Photographs, file: Path, workers: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds per epoch of either side."""
    torch.set_num_threads(workers)
    stream, numbers = photographs.stream(file, workers=workers), count()
    loader = torchvision_loader(photographs, workers)
    return in_turns(
        lambda: seconds(lambda: photographs.consume(batch.images for batch in stream.epoch(next(numbers)))),
        lambda: seconds(lambda: photographs.consume(images for images, _ in loader)),
        turns=11,
    )


def torchvision_loader(photographs: Photographs, workers: int) -> DataLoader:
    """The usual training loader, with its workers kept from one epoch to the next."""
    mean, std = ([value / 255 for value in values] for values in (SOURCE.mean, SOURCE.std))
    steps = [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    pictures = datasets.ImageFolder(
        str(photographs.root / "train"), transforms.Compose([*steps, transforms.Normalize(mean, std)])
    )
    return DataLoader(pictures, BATCH, shuffle=True, num_workers=workers, persistent_workers=True)
