"""Batches of a prepared file: the training stream and the evaluation stream.

Lives here: `TrainStream`, `EvalStream`. Must not: FFCV (`harness.data._ffcv`), losses, models.

The training stream is a pure function of (seed, epoch, position): the same pixels come at any number of workers and
ranks, and after a restart. Evaluation yields every image exactly once at any number of ranks. Batches are the caller's
to keep.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from harness.batch import Batch, Mates
from harness.data._boxes import Draw, centre_boxes, training_boxes
from harness.data._draws import CLASSMATE, MATE, NOISE, hashed, order, uniform
from harness.data._ffcv import open_reader
from harness.data._mates import Classmates
from harness.data._normalise import Table
from harness.data._prefetch import prefetched
from harness.data.augment import Augment
from harness.errors import UserError

Ints = NDArray[np.int64]
Item = TypeVar("Item")
Result = TypeVar("Result")


class _Decoded(NamedTuple):
    """Images that are not on the device yet: the numbers of their samples [n] and pixels [n, size, size, 3].

    Bytes for a GPU, which normalises them itself; for a CPU numbers that are normalised by the reading thread.
    """

    samples: Ints
    pixels: torch.Tensor


class _Stream:
    """From sample numbers to batches on a device."""

    def __init__(
        self,
        path: Path,
        mean: Sequence[float],
        std: Sequence[float],
        workers: int,
        patience_s: float,
        device: str,
        channels_last: bool,
    ) -> None:
        self._reader = open_reader(path)
        self._path, self._workers, self._patience_s, self._device = path, workers, patience_s, torch.device(device)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._table = Table(mean, std) if device == "cpu" else None
        self._mean = torch.tensor(mean, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32, device=device).view(1, 3, 1, 1)

    def _ahead(self, make: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return prefetched(make, items, self._workers, patience_s=self._patience_s, reading=str(self._path))

    def _decode(self, samples: Ints, boxes: Ints, size: int) -> _Decoded:
        # Pinned memory is not handed out again before the copy to the device is over: torch's allocator sees to it.
        shape = (len(samples), size, size, 3)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        self._reader.decode(samples, boxes, pixels.numpy())
        return _Decoded(samples, self._table(pixels) if self._table else pixels)

    def _batch(self, decoded: _Decoded, epoch: int = 0, position: int = 0, mates: Batch | None = None) -> Batch:
        images = decoded.pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=self._format)
        if self._table is None:
            images = images.sub_(self._mean).div_(self._std)
        labels = torch.from_numpy(self._reader.labels[decoded.samples]).to(self._device, non_blocking=True)
        return Batch(images, labels, torch.from_numpy(decoded.samples), epoch, position, mates)


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
        batch_per_gpu: int,
        accumulation: int,
        rank: int,
        world: int,
        workers: int,
        patience_s: float,
        device: str,
        channels_last: bool,
        mates: Mates = "none",
        first_epoch: int = 0,
    ) -> None:
        """An update takes `accumulation` batches of each rank; a batch may take `patience_s` seconds to come.

        Before the first update of `first_epoch` there was none, whose images could be mates.

        Raises UserError if the file holds less than one update's images, or images smaller than the crop.
        """
        super().__init__(path, mean, std, workers, patience_s, device, channels_last)
        global_batch, count = accumulation * world * batch_per_gpu, len(self._reader)
        self._global_batch, self.steps_per_epoch = global_batch, count // global_batch
        """Updates in an epoch; the images of an incomplete last one are left out, other ones in each epoch."""
        if self.steps_per_epoch == 0:
            raise UserError(f"{path} holds {count} images, fewer than a global batch of {global_batch}: lower it")
        shortest = min(self._reader.heights.min(), self._reader.widths.min())
        if augment.crop == "pad" and shortest + 2 * augment.pad < augment.size:
            raise UserError(f"{path} holds an image of side {shortest}, too small for a padded crop of {augment.size}")
        self._augment, self._seed, self._mates, self._first_epoch = augment, seed, mates, first_epoch
        self._batch_per_gpu, self._accumulation, self._rank, self._world = batch_per_gpu, accumulation, rank, world
        self._classmates = Classmates(self._reader.labels) if mates == "class" else None

    def epoch(self, number: int, first_step: int = 0) -> Generator[Batch, None, None]:
        """`accumulation` batches of `batch_per_gpu` images for each step from `first_step` on.

        Raises StageError in the place of a batch that is damaged or does not come in time.
        """
        samples, draw = self._order(number), partial(uniform, self._seed, number)
        mates = self._mates_of(number, samples, draw)

        def decode(position: int) -> tuple[int, _Decoded, _Decoded | None]:
            firsts = samples[position : position + self._batch_per_gpu]
            return position, self._view(number, draw, firsts, firsts), mates(position)

        for position, firsts, seconds in self._ahead(decode, self._positions(first_step)):
            yield self._batch(firsts, number, position, self._batch(seconds, number, position) if seconds else None)

    def noise_seed(self, batch: Batch) -> int:
        """For what a network draws itself, dropout say: it then is a function of the place in the stream too."""
        return int(hashed(self._seed, batch.epoch, NOISE, batch.position)[0])

    def _positions(self, first_step: int) -> Iterator[int]:
        """Where this rank's batches begin. A step has `accumulation` turns; in each turn every rank takes a batch."""
        for turn in range(first_step * self._accumulation, self.steps_per_epoch * self._accumulation):
            yield (turn * self._world + self._rank) * self._batch_per_gpu

    def _view(self, epoch: int, draw: Draw, drawn_for: Ints, samples: Ints) -> _Decoded:
        """The images of `samples` [n], cropped and flipped by the draws of the samples `drawn_for` [n]."""
        heights, widths = self._reader.heights[samples], self._reader.widths[samples]
        boxes = training_boxes(self._augment, draw, drawn_for, heights, widths)
        return self._decode(samples, boxes, self._augment.size_at(epoch))

    def _order(self, epoch: int) -> Ints:
        return order(self._seed, epoch, len(self._reader))

    def _mates_of(self, epoch: int, samples: Ints, draw: Draw) -> Callable[[int], _Decoded | None]:
        """What gives the second images of the batch at a position of an epoch."""
        if self._classmates is not None:
            return partial(self._another_of_each_class, self._classmates, epoch, samples, draw)
        if self._mates == "previous":
            before = self._order(epoch - 1) if epoch > self._first_epoch else None
            return partial(self._previous, epoch, samples, before)
        return lambda _: None

    def _another_of_each_class(
        self, classmates: Classmates, epoch: int, samples: Ints, draw: Draw, position: int
    ) -> _Decoded:
        """Drawn for the first images, so that two that have the same mate do not get the same view of it."""
        firsts = samples[position : position + self._batch_per_gpu]
        mates = classmates.pick(firsts, draw(CLASSMATE, firsts))
        return self._view(epoch, partial(draw, MATE), firsts, mates)

    def _previous(self, epoch: int, samples: Ints, samples_before: Ints | None, position: int) -> _Decoded | None:
        """What this rank saw in its place of the update before, be it the last one of the epoch before."""
        begin, of = position - self._global_batch, epoch
        if begin < 0:
            if samples_before is None:
                return None
            samples, begin, of = samples_before, begin + self.steps_per_epoch * self._global_batch, epoch - 1
        seen = samples[begin : begin + self._batch_per_gpu]
        return self._view(epoch, partial(uniform, self._seed, of, MATE), seen, seen)


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
        patience_s: float,
        device: str,
        channels_last: bool,
    ) -> None:
        """`resize_ratio` is crop over resize, 224 / 256 say: the share of the shorter side that the square covers."""
        super().__init__(path, mean, std, workers, patience_s, device, channels_last)
        self.total = len(self._reader)
        """Images of all ranks together."""
        self._size, self._share, self._step = size, resize_ratio, batch
        self._mine = np.arange(rank, self.total, world)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of `batch` images, the last one smaller if need be; none if this rank has no images.

        Raises StageError in the place of a batch that is damaged or does not come in time.
        """

        def decode(samples: Ints) -> _Decoded:
            boxes = centre_boxes(self._share, self._reader.heights[samples], self._reader.widths[samples])
            return self._decode(samples, boxes, self._size)

        chunks = (self._mine[i : i + self._step] for i in range(0, len(self._mine), self._step))
        return map(self._batch, self._ahead(decode, chunks))
