"""Batches of a prepared file: the training stream and the evaluation stream.

Lives here: `TrainStream`, `EvalStream`. Must not: FFCV (`harness.data._ffcv`), losses, models.

The training stream is a pure function of (seed, epoch, position): the same pixels come at any number of workers and
ranks, and after a restart. Evaluation yields every image exactly once at any number of ranks. Batches are the caller's
to keep.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harness.batch import Batch
from harness.data._boxes import centre_boxes, training_boxes
from harness.data._draws import order
from harness.data._ffcv import open_reader
from harness.data._prefetch import prefetched
from harness.data.augment import Augment
from harness.errors import UserError

Ints = NDArray[np.int64]


class _Stream:
    """From sample numbers to batches on a device."""

    def __init__(
        self,
        path: Path,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        workers: int,
        device: str,
        channels_last: bool,
    ) -> None:
        self._reader = open_reader(path)
        self._size, self._workers, self._device = size, workers, torch.device(device)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._mean = torch.tensor(mean, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32, device=device).view(1, 3, 1, 1)

    def _batches(self, chunks: Iterable[Ints], boxes: Callable[[Ints], Ints]) -> Iterator[Batch]:
        """A batch for each chunk of sample numbers; `boxes(indices)` says what is taken of each."""

        def decode(indices: Ints) -> tuple[Ints, torch.Tensor]:
            # Pinned memory is not handed out again before the copy to the device is over: torch's allocator sees to it.
            shape = (len(indices), self._size, self._size, 3)
            pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
            self._reader.decode(indices, boxes(indices), pixels.numpy())
            return indices, pixels

        for indices, pixels in prefetched(decode, chunks, self._workers):
            yield self._batch(indices, pixels)

    def _batch(self, indices: Ints, pixels: torch.Tensor) -> Batch:
        images = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=self._format).sub_(self._mean).div_(self._std)
        labels = torch.from_numpy(self._reader.labels[indices])
        return Batch(images, labels.to(self._device, non_blocking=True), torch.from_numpy(indices))


class TrainStream(_Stream):
    """The images of one rank, epoch by epoch. Only its place in (`rank`, `world`) differs between ranks."""

    def __init__(
        self,
        *,
        path: Path,
        augment: Augment,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        global_batch: int,
        batch_per_gpu: int,
        rank: int,
        world: int,
        workers: int,
        device: str,
        channels_last: bool,
    ) -> None:
        """Raises UserError if the file holds less than one global batch or images smaller than the crop."""
        super().__init__(path, augment.size, mean, std, workers, device, channels_last)
        count = len(self._reader)
        self.steps_per_epoch = count // global_batch
        """Updates in an epoch; the images of an incomplete last one are left out, other ones in each epoch."""
        if self.steps_per_epoch == 0:
            raise UserError(f"{path} holds {count} images, fewer than a global batch of {global_batch}: lower it")
        self.accumulation, rest = divmod(global_batch, batch_per_gpu * world)
        """Batches of this rank in one update."""
        if rest or self.accumulation == 0:
            raise UserError(f"a global batch of {global_batch} is no multiple of {world} ranks x {batch_per_gpu}")
        shortest = min(self._reader.heights.min(), self._reader.widths.min())
        if augment.crop == "pad" and shortest + 2 * augment.pad < augment.size:
            raise UserError(f"{path} holds an image of side {shortest}, too small for a padded crop of {augment.size}")
        self._augment, self._seed = augment, seed
        self._global_batch, self._batch_per_gpu, self._rank, self._world = global_batch, batch_per_gpu, rank, world

    def epoch(self, number: int, first_step: int = 0) -> Iterator[Batch]:
        """`accumulation` batches of `batch_per_gpu` images for each step from `first_step` on."""

        def boxes(indices: Ints) -> Ints:
            heights, widths = self._reader.heights[indices], self._reader.widths[indices]
            return training_boxes(self._augment, self._seed, number, indices, heights, widths)

        return self._batches(self._chunks(order(self._seed, number, len(self._reader)), first_step), boxes)

    def _chunks(self, samples: Ints, first_step: int) -> Iterator[Ints]:
        """Step s takes the positions from s * global_batch on; its chunk a * world + rank is this rank's batch a."""
        for step in range(first_step, self.steps_per_epoch):
            for part in range(self.accumulation):
                start = step * self._global_batch + (part * self._world + self._rank) * self._batch_per_gpu
                yield samples[start : start + self._batch_per_gpu]


class EvalStream(_Stream):
    """Every image of a file exactly once: this rank yields the samples rank, rank + world, ... in order."""

    def __init__(
        self,
        *,
        path: Path,
        size: int,
        resize_ratio: float,
        mean: Sequence[float],
        std: Sequence[float],
        batch: int,
        rank: int,
        world: int,
        workers: int,
        device: str,
        channels_last: bool,
    ) -> None:
        """`resize_ratio` is crop over resize, 224 / 256 say: the share of the shorter side that the square covers."""
        super().__init__(path, size, mean, std, workers, device, channels_last)
        self.total = len(self._reader)
        """Images of all ranks together."""
        self._share, self._step = resize_ratio, batch
        self._mine = np.arange(rank, self.total, world)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of `batch` images, the last one smaller if need be; none if this rank has no images."""

        def boxes(indices: Ints) -> Ints:
            return centre_boxes(self._share, self._reader.heights[indices], self._reader.widths[indices])

        chunks = (self._mine[i : i + self._step] for i in range(0, len(self._mine), self._step))
        return self._batches(chunks, boxes)
