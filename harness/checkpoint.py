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
import secrets
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from threading import Thread, get_native_id
from typing import Any, NoReturn

import torch
from safetensors.torch import load

from harness.context import Context
from harness.engine.group import sum_over_ranks
from harness.errors import StageError, Stopped
from harness.placement import CHECKPOINT_S, CHECKPOINT_SHARE
from harness.spec import Json
from harness.store import flush

TENSORS, FACTS = "tensors.safetensors", "checkpoint.json"
KEPT = 2
_TYPES = {
    torch.float16: "F16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read."""

    facts: dict[str, Json]
    tensors: dict[str, torch.Tensor]


class Verdict(IntEnum):
    """What is to be done between two steps, on all ranks alike."""

    GO_ON = 0
    SAVE = 1
    SAVE_AND_STOP = 2
    STOP = 3


class Checkpoints:
    """The checkpoints of one stage. Every rank holds one of these and calls it at the same steps."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._folder = context.unfinished
        self._staged: dict[str, torch.Tensor] = {}
        self._writing: Future[None] | None = None
        self._asked = self._last = time.monotonic()
        self._held_up = 0.0

    def newest(self) -> Saved:
        """The last checkpoint whose hash is right, on every rank; an empty one if there is none."""
        number, saved = self._newest_whole() if self._context.topology.leads else (0, None)
        (number,) = sum_over_ranks(torch.tensor([number], device=self._context.device))
        if number == 0:
            return Saved({}, {})
        saved = saved or read_checkpoint(self._folder / str(number))
        if saved is None:
            raise StageError(f"{self._folder / str(number)} is whole for rank 0 and damaged here: is its disk sound?")
        self._context.journal.write("resumed", updates=number)
        return saved

    def verdict(self) -> Verdict:
        """What rank 0 decides for all. While a checkpoint is being written, it is not time for the next."""
        self._asked = time.monotonic()
        mine = self._decide() if self._context.topology.leads else Verdict.GO_ON
        (verdict,) = sum_over_ranks(torch.tensor([int(mine)], device=self._context.device))
        return Verdict(verdict)

    def save(self, updates: int, facts: Mapping[str, Json], tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy the tensors, and write the copy while training goes on."""
        self._last = time.monotonic()
        if not self._context.topology.leads:
            return
        self.finish()
        self._stage(tensors)
        self._held_up = time.monotonic() - self._asked
        self._writing = Future()
        Thread(target=self._write, args=(self._writing, updates, dict(facts)), name="checkpoint", daemon=True).start()

    def stop(self) -> NoReturn:
        """Leave the training on all ranks, once what is being written is on the disk."""
        self.finish()
        sum_over_ranks(torch.zeros(1, device=self._context.device, dtype=torch.int64))  # all wait for rank 0
        raise Stopped(self._context.ending.reason or "another attempt has taken the stage over")

    def finish(self) -> None:
        """Wait for what is being written. That it cannot be is told and no more: training is worth more than it."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            writing.result(timeout=self._context.patience_s)
        except (OSError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self._staged = {}  # still being read: what comes next must not be written under the old name
            reason = f"{type(error).__name__} {error}".strip()
            self._context.journal.write("unsaved", reason=f"cannot write a checkpoint to {self._folder}: {reason}")

    def _decide(self) -> Verdict:
        if self._context.lease is not None and self._context.lease.lost.is_set():
            return Verdict.STOP
        if self._context.ending.reason is not None:
            return Verdict.SAVE_AND_STOP
        pause = self._context.checkpoint_s
        if pause is None:
            pause = max(CHECKPOINT_S, self._held_up / CHECKPOINT_SHARE)
        late = self._asked - self._last >= pause
        return Verdict.SAVE if late and (self._writing is None or self._writing.done()) else Verdict.GO_ON

    def _newest_whole(self) -> tuple[int, Saved | None]:
        """Where to go on, and from what; what is damaged or half-written before it goes away."""
        damaged = list(self._folder.glob(".*"))  # of an attempt that was killed while it wrote
        for number in numbers(self._folder):
            folder = self._folder / str(number)
            saved = read_checkpoint(folder)
            if saved is not None:
                for other in damaged:
                    shutil.rmtree(other, ignore_errors=True)
                return number, saved
            self._context.journal.write("damaged", checkpoint=str(folder))
            damaged.append(folder)
        return 0, None

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
        os.setpriority(os.PRIO_PROCESS, get_native_id(), 19)  # of this thread: training goes first
        try:
            write_checkpoint(self._folder, updates, facts, self._staged)
        except BaseException as error:  # told to whoever saves next
            done.set_exception(error)
        else:
            self._context.journal.write("saved", updates=updates, seconds=round(self._held_up, 3))
            done.set_result(None)


def write_checkpoint(
    folder: Path, updates: int, facts: Mapping[str, Json], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Make FOLDER/<updates> appear whole, and let all but the newest `KEPT` go. Tensors are row-major, on the CPU."""
    aside = folder / f".{updates}-{secrets.token_hex(4)}"  # a paused attempt of another host may be at it too
    aside.mkdir(parents=True)
    digest = write_tensors(aside / TENSORS, tensors)
    (aside / FACTS).write_text(json.dumps({"facts": facts, "sha256": digest}, sort_keys=True) + "\n")
    flush(aside / FACTS)
    flush(aside)
    shutil.rmtree(folder / str(updates), ignore_errors=True)
    aside.rename(folder / str(updates))
    flush(folder)
    for old in numbers(folder)[KEPT:]:
        shutil.rmtree(folder / str(old), ignore_errors=True)


def read_checkpoint(folder: Path) -> Saved | None:
    """What lies there, if its hash is right."""
    try:
        written = json.loads((folder / FACTS).read_text())
        content = (folder / TENSORS).read_bytes()
        if written["sha256"] != hashlib.sha256(content).hexdigest():
            return None
        return Saved(written["facts"], load(content))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def numbers(folder: Path) -> list[int]:
    """Updates done in each checkpoint that is there, the newest first."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


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
    parts: list[Any] = [len(text).to_bytes(8, "little"), text, *(t.view(-1).numpy() for t in tensors.values())]
    with open(path, "xb") as file, ThreadPoolExecutor(1) as beside:
        digest = beside.submit(_digest, parts)
        for part in parts:
            file.write(part)
    flush(path)
    return digest.result()


def _digest(parts: list[Any]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
