"""Training streams to compare: how to open one, and when two are the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.batch import Batch
from harness.data._arrays import ArrayImages
from harness.data._draws import hashed
from harness.data.augment import Augment
from harness.data.stream import TrainStream

PAD = Augment(crop="pad", size=32)
RESIZED = Augment(crop="resized", size=40)
AUGMENTS = [Augment(crop="none", size=24, flip=False), Augment(crop="pad", size=56, pad=12), RESIZED]


def train_stream(path: Path, augment: Augment = PAD, *, global_batch: int = 8, **changes: Any) -> TrainStream:
    """A stream whose images are the pixels themselves, 0 .. 255."""
    settings: dict[str, Any] = {
        "mean": (0, 0, 0), "std": (1, 1, 1), "seed": 1, "batch_per_gpu": 2, "rank": 0, "world": 1, "workers": 1,
        "patience_s": 60.0, "device": "cpu", "channels_last": False, **changes,
    }  # fmt: skip
    accumulation = global_batch // (settings["batch_per_gpu"] * settings["world"])
    return TrainStream(path=path, augment=augment, accumulation=accumulation, **settings)


def noise(labels: Sequence[int]) -> ArrayImages:
    """An image of noise, 24x20, for each label: the same ones whenever and wherever it is called."""
    bits = hashed(np.arange(len(labels) * 24 * 20 * 3)) >> np.uint64(56)
    return ArrayImages(bits.astype(np.uint8).reshape(-1, 24, 20, 3), labels, ["a", "b", "c"], listing="noise")


def joined(batches: list[Batch]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, labels and indices of all batches, one after another."""
    images, labels, indices = zip(*((b.images, b.labels, b.indices) for b in batches), strict=True)
    return torch.cat(images), torch.cat(labels), torch.cat(indices)


def mates(batches: list[Batch]) -> list[Batch]:
    """The second images of all batches."""
    return [batch.mates for batch in batches if batch.mates is not None]


def same(one: list[Batch], other: list[Batch]) -> bool:
    """Whether images, labels, indices, epochs and positions agree to the last bit, those of the mates too."""
    places = [[(batch.epoch, batch.position) for batch in batches] for batches in (one, other)]
    if places[0] != places[1] or len(mates(one)) != len(mates(other)):
        return False
    equal = all(torch.equal(a, b) for a, b in zip(joined(one), joined(other), strict=True))
    return equal and (not mates(one) or same(mates(one), mates(other)))
