"""A teacher's outputs at every position of a training stream, on disk.

Lives here: their files, written epoch by epoch and read by position. Must not: the teacher.

One set of `.npy` files for each epoch, rows in the order of the stream: all logits, or the largest `top_k` of them with
their classes, and what each of the others would be if they shared the rest of the probability evenly (at temperature 1;
Shen & Xing, ECCV 2022, smooth the same rest). Logits that were computed in bf16 are kept in their 16 bits.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray
from torch import Tensor

from harness.batch import Batch
from harness.context import Context
from harness.data.stream import TrainStream
from harness.engine.group import gather_from_ranks, sum_over_ranks
from harness.errors import UserError
from harness.store import flush

SHAPE = "outputs.json"
_FLUSH_BYTES = 1 << 26
"""Written between two flushes: the other ranks wait for the slowest, and at most for so much."""


@dataclass(frozen=True)
class Shape:
    """What is stored: `rows` logits of `classes` for each epoch, all of them or the `top_k` largest."""

    rows: int
    classes: int
    top_k: int | None
    bf16: bool = False

    @property
    def parts(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of every file of an epoch, by name."""
        if self.top_k is None:
            return {"logits": ("<i2" if self.bf16 else "<f4", (self.rows, self.classes))}
        wide = (self.rows, self.top_k)
        return {"top": ("<f4", wide), "classes": ("<i4", wide), "rest": ("<f4", (self.rows,))}

    def compress(self, logits: Tensor) -> dict[str, Tensor]:
        """The parts that are stored of logits [n, classes]."""
        if self.top_k is None:
            return {"logits": logits.bfloat16().view(torch.int16) if self.bf16 else logits.float()}
        top, classes = logits.float().topk(self.top_k, dim=1)
        others = logits.float().scatter(1, classes, -torch.inf).logsumexp(dim=1)
        return {"top": top, "classes": classes.int(), "rest": others - math.log(self.classes - self.top_k)}

    def expand(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Logits [n, classes] in fp32 again; from top-k, the top classes get back their probabilities."""
        if self.top_k is None:
            return parts["logits"].view(torch.bfloat16).float() if self.bf16 else parts["logits"]
        even = parts["rest"][:, None].repeat(1, self.classes)
        return even.scatter(1, parts["classes"].long(), parts["top"])


def write_outputs(
    teacher: Callable[[Batch], Tensor], stream: TrainStream, epochs: int, shape: Shape, context: Context
) -> None:
    """Run the teacher through the stream and leave its outputs in `context.folder`; finished epochs are not redone.

    Raises UserError if the teacher has another number of outputs than is said.
    """
    leads, folder = context.topology.leads, context.unfinished
    started = time.monotonic()
    first = sum(_complete(folder, epoch, shape) for epoch in range(epochs)) if leads else 0
    (first,) = sum_over_ranks(torch.tensor([first], device=context.device))
    for epoch in range(first, epochs):
        with EpochWriter(folder, epoch, shape) if leads else nullcontext() as writer:
            for batch in stream.epoch(epoch):
                rows = gather_from_ranks(teacher(batch))  # [ranks, n, classes]: in turns, as the stream deals
                if rows.shape[-1] != shape.classes:
                    raise UserError(f"the teacher has {rows.shape[-1]} outputs, its TeacherOutputs say {shape.classes}")
                if writer is not None:
                    writer.append(rows.flatten(0, 1))
        _tell(context, epoch + 1 - first, epochs - first, shape, time.monotonic() - started)
    if leads:
        for path in folder.glob("epoch-*.npy"):
            path.rename(context.folder / path.name)
        write_shape(shape, context.folder)


def write_shape(shape: Shape, folder: Path) -> None:
    """Leave `outputs.json` in the folder."""
    (folder / SHAPE).write_text(json.dumps(asdict(shape), sort_keys=True) + "\n")


class EpochWriter:
    """The files of one epoch, in a folder, row after row; they get their names when the context ends well."""

    def __init__(self, folder: Path, epoch: int, shape: Shape) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._shape, self._unflushed = shape, 0
        self._paths = {name: folder / _file_name(epoch, name) for name in shape.parts}
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        for name, (kind, size) in self._shape.parts.items():
            self._files[name] = open(_aside(self._paths[name]), "wb")  # closed by __exit__
            write_array_header_1_0(self._files[name], {"descr": kind, "fortran_order": False, "shape": size})
        return self

    def append(self, logits: Tensor) -> None:
        """The next rows [n, classes]."""
        for name, values in self._shape.compress(logits).items():
            self._unflushed += self._files[name].write(values.cpu().numpy().data)
        if self._unflushed > _FLUSH_BYTES:
            self._flush()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        for name, path in self._paths.items():
            self._files[name].close()
            if kind is None:
                _aside(path).rename(path)
                flush(path.parent)

    def _flush(self) -> None:
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self._unflushed = 0


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
        return self._shape.expand({name: part.to(batch.images.device) for name, part in found.items()})


def _tell(context: Context, done: int, of: int, shape: Shape, seconds: float) -> None:
    rate = done * shape.rows / seconds
    facts = {"epoch": done, "epochs": of, "done": done * shape.rows, "of": of * shape.rows}
    left = round((of - done) * shape.rows / rate, 1)
    context.journal.write("epoch", **facts, images_per_s=round(rate, 1), seconds_left=left)


def _complete(folder: Path, epoch: int, shape: Shape) -> bool:
    """Whether the files of an epoch are all there; each got its name when it was whole and on the disk."""
    return all((folder / _file_name(epoch, name)).exists() for name in shape.parts)


def _file_name(epoch: int, part: str) -> str:
    """`epoch-007.logits.npy`"""
    return f"epoch-{epoch:03}.{part}.npy"


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}")
