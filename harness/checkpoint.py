"""Checkpoints of a running training, on disk.

Lives here: writing them in the background, keeping the last two, finding the newest that is whole. Must not: what is in
one (`harness.state`).

    <unfinished>/<updates>/tensors.safetensors     whole fp32 tensors, whatever the number of ranks
    <unfinished>/<updates>/checkpoint.json         where the training was, and the SHA-256 of the tensors

A checkpoint is written aside, flushed and renamed, as artefacts are. Rank 0 writes.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from safetensors.torch import load_file

from harness.context import Context
from harness.engine.group import sum_over_ranks
from harness.errors import StageError
from harness.spec import Json
from harness.store import flush, sha256

TENSORS, FACTS = "tensors.safetensors", "checkpoint.json"
KEPT = 2
_TYPES = {torch.float32: "F32", torch.int64: "I64"}


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read."""

    facts: dict[str, Json]
    tensors: dict[str, torch.Tensor]


class Checkpoints:
    """The checkpoints of one stage. Every rank holds one of these and calls it at the same steps."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._folder = context.unfinished
        self._staged: dict[str, torch.Tensor] = {}
        self._writing: Future[None] | None = None
        self._written = time.monotonic()

    def newest(self) -> Saved:
        """The last checkpoint whose hash is right, on every rank; an empty one if there is none."""
        number = 0
        if self._context.topology.leads:
            for left in self._folder.glob(".*"):  # of an attempt that was killed while it wrote
                shutil.rmtree(left, ignore_errors=True)
            number = next(filter(self._whole, self._numbers()), 0)
        (number,) = sum_over_ranks(torch.tensor([number], device=self._context.device))
        if number == 0:
            return Saved({}, {})
        self._context.journal.write("resumed", updates=number)
        folder = self._folder / str(number)
        return Saved(json.loads((folder / FACTS).read_text())["facts"], load_file(folder / TENSORS))

    def due(self) -> bool:
        """Whether it is time to save, which rank 0 decides for all. While one is being written, it is not."""
        late = time.monotonic() - self._written >= self._context.checkpoint_s
        now = self._context.topology.leads and late and (self._writing is None or self._writing.done())
        return sum_over_ranks(torch.tensor([int(now)], device=self._context.device)) == [1]

    def save(self, updates: int, facts: Mapping[str, Json], tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy the tensors, and write the copy while training goes on. Raises what went wrong with the one before."""
        self._written = time.monotonic()
        if not self._context.topology.leads:
            return
        self.finish()
        self._stage(tensors)
        self._writing = Future()
        Thread(target=self._write, args=(self._writing, updates, dict(facts)), name="checkpoint", daemon=True).start()

    def finish(self) -> None:
        """Wait for what is being written. Raises StageError if it could not be."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            try:
                writing.result()
            except OSError as error:
                raise StageError(f"cannot write a checkpoint to {self._folder}: {error.strerror}") from error

    def _stage(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Row-major copies in main memory, which is asked for once: fresh memory costs more than the copy."""
        pinned = self._context.device.startswith("cuda")
        if not self._staged:
            self._staged = {n: torch.empty(t.shape, dtype=t.dtype, pin_memory=pinned) for n, t in tensors.items()}
        for name, tensor in tensors.items():
            self._staged[name].copy_(tensor.detach(), non_blocking=True)
        if pinned:
            torch.cuda.synchronize()

    def _write(self, done: Future[None], updates: int, facts: dict[str, Json]) -> None:
        try:
            self._publish(updates, facts)
        except BaseException as error:  # told to whoever saves next
            done.set_exception(error)
        else:
            self._written = time.monotonic()
            done.set_result(None)

    def _publish(self, updates: int, facts: dict[str, Json]) -> None:
        aside = self._folder / f".{updates}-{os.getpid()}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        digest = write_tensors(aside / TENSORS, self._staged)
        (aside / FACTS).write_text(json.dumps({"facts": facts, "sha256": digest}, sort_keys=True) + "\n")
        flush(aside / FACTS)
        flush(aside)
        shutil.rmtree(self._folder / str(updates), ignore_errors=True)
        aside.rename(self._folder / str(updates))
        flush(self._folder)
        for old in list(self._numbers())[KEPT:]:
            shutil.rmtree(self._folder / str(old), ignore_errors=True)

    def _numbers(self) -> Iterator[int]:
        """Updates done in each checkpoint that is there, the newest first."""
        names = os.listdir(self._folder) if self._folder.is_dir() else []
        return iter(sorted((int(name) for name in names if name.isdecimal()), reverse=True))

    def _whole(self, number: int) -> bool:
        folder = self._folder / str(number)
        try:
            whole = json.loads((folder / FACTS).read_text())["sha256"] == sha256(folder / TENSORS)
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            self._context.journal.write("damaged", checkpoint=str(folder))
        return bool(whole)


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    """A safetensors file of row-major CPU tensors, flushed; returns its SHA-256, which costs no second read.

    The library's own writer keeps the interpreter to itself, and a training step waiting, until all is written.
    """
    header: dict[str, Json] = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with open(path, "xb") as file:
        parts: list[Any] = [len(text).to_bytes(8, "little"), text, *(t.view(-1).numpy() for t in tensors.values())]
        for part in parts:
            digest.update(part)
            file.write(part)
    flush(path)
    return digest.hexdigest()
