"""A teacher's outputs at every position of a training stream, on disk.

Lives here: their files, written epoch by epoch and read by position. Must not: the teacher.

One set of `.npy` files for each epoch, rows in the order of the stream: all logits, or the largest `top_k` of them with
their classes, and what each of the others would be if they shared the rest of the probability evenly (Shen & Xing,
ECCV 2022, smooth the same rest at temperature 1).
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from harness.batch import Batch
from harness.context import Context
from harness.data.stream import TrainStream
from harness.engine.group import gather_from_ranks, sum_over_ranks

SHAPE = "outputs.json"


@dataclass(frozen=True)
class Shape:
    """What is stored: `rows` logits of `classes` for each epoch, all of them or the `top_k` largest."""

    rows: int
    classes: int
    top_k: int | None

    @property
    def parts(self) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """Type and shape of every file of an epoch, by name."""
        if self.top_k is None:
            return {"logits": (np.float32, (self.rows, self.classes))}
        wide = (self.rows, self.top_k)
        return {"top": (np.float32, wide), "classes": (np.int32, wide), "rest": (np.float32, (self.rows,))}


def write_outputs(
    teacher: Callable[[Batch], Tensor], stream: TrainStream, epochs: int, shape: Shape, context: Context
) -> None:
    """Run the teacher through the stream and leave its outputs in `context.folder`; finished epochs are not redone."""
    leads, folder = context.topology.leads, context.unfinished
    started = time.monotonic()
    first = sum(_complete(folder, epoch, shape) for epoch in range(epochs)) if leads else 0
    (first,) = sum_over_ranks(torch.tensor([first], device=context.device))
    for epoch in range(first, epochs):
        writer = EpochWriter(folder, epoch, shape) if leads else None
        for batch in stream.epoch(epoch):
            rows = gather_from_ranks(teacher(batch).float())  # [ranks, n, classes]: in turns, as the stream deals
            if writer is not None:
                writer.write(batch.position, rows.flatten(0, 1))
        if writer is not None:
            writer.close()
            _tell(context, epoch + 1 - first, epochs - first, shape, time.monotonic() - started)
    if leads:
        for path in folder.glob("epoch-*.npy"):
            path.rename(context.folder / path.name)
        write_shape(shape, context.folder)


def write_shape(shape: Shape, folder: Path) -> None:
    """Leave `outputs.json` in the folder."""
    (folder / SHAPE).write_text(json.dumps(asdict(shape), sort_keys=True) + "\n")


def _tell(context: Context, done: int, of: int, shape: Shape, seconds: float) -> None:
    rate = done * shape.rows / seconds
    facts = {"epoch": done, "epochs": of, "done": done * shape.rows, "of": of * shape.rows}
    left = round((of - done) * shape.rows / rate, 1)
    context.journal.write("epoch", **facts, images_per_s=round(rate, 1), seconds_left=left)


class EpochWriter:
    """The files of one epoch, in a folder; they get their names when all rows are there."""

    def __init__(self, folder: Path, epoch: int, shape: Shape) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._top_k = shape.top_k
        self._paths = {name: folder / _file_name(epoch, name) for name in shape.parts}
        self._arrays = {
            name: open_memmap(_aside(self._paths[name]), mode="w+", dtype=kind, shape=size)
            for name, (kind, size) in shape.parts.items()
        }

    def write(self, position: int, logits: Tensor) -> None:
        """Rows [n, classes] from `position` on."""
        for name, values in compress(logits, self._top_k).items():
            self._arrays[name][position : position + len(values)] = values.cpu().numpy()

    def close(self) -> None:
        """All rows are written."""
        for name, path in self._paths.items():
            self._arrays[name].flush()
            _aside(path).rename(path)


class StoredOutputs:
    """A teacher's part in distillation, read instead of computed: the logits of the batch's positions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shape = Shape(**json.loads((folder / SHAPE).read_text()))
        self._epoch = -1
        self._arrays: dict[str, NDArray[np.generic]] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """[n, classes], float32, on the device of the batch."""
        if batch.epoch != self._epoch:
            self._epoch = batch.epoch
            self._arrays = {
                name: np.load(self._folder / _file_name(batch.epoch, name), mmap_mode="r") for name in self._shape.parts
            }
        rows = slice(batch.position, batch.position + len(batch.labels))
        found = {name: torch.from_numpy(array[rows].copy()) for name, array in self._arrays.items()}
        return expand({name: part.to(batch.images.device) for name, part in found.items()}, self._shape.classes)


def _complete(folder: Path, epoch: int, shape: Shape) -> bool:
    """Whether the files of an epoch are all there."""
    return all((folder / _file_name(epoch, name)).exists() for name in shape.parts)


def compress(logits: Tensor, top_k: int | None) -> dict[str, Tensor]:
    """The parts that are stored of logits [n, classes]."""
    if top_k is None:
        return {"logits": logits}
    top, classes = logits.topk(top_k, dim=1)
    others = logits.scatter(1, classes, -torch.inf).logsumexp(dim=1)
    return {"top": top, "classes": classes, "rest": others - math.log(logits.shape[1] - top_k)}


def expand(parts: Mapping[str, Tensor], classes: int) -> Tensor:
    """Logits [n, classes] again; the softmax of those from top-k gives the same probabilities to the top classes."""
    if "logits" in parts:
        return parts["logits"]
    even = parts["rest"][:, None].repeat(1, classes)
    return even.scatter(1, parts["classes"].long(), parts["top"])


def _file_name(epoch: int, part: str) -> str:
    """`epoch-007.logits.npy`"""
    return f"epoch-{epoch:03}.{part}.npy"


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}")
