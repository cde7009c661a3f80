"""`harness logs KEY`: what a rank of the newest attempt at a stage printed.

Lives here: finding log files, printing and following them. Must not: the journal's meaning (`harness.history`).
"""

import argparse
import codecs
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from harness.commands._arguments import Commands, add_store
from harness.commands._store import open_store
from harness.commands._text import visible
from harness.errors import UserError
from harness.history import History, read_history
from harness.launches import Planned
from harness.overview import find_key, is_final, planned_stages
from harness.store import Store

POLL_SECONDS = 1.0
_BLOCK = 1 << 20


def add_to(commands: Commands) -> None:
    """Add `harness logs`."""
    parser = commands.add_parser("logs", help="what the newest attempt at a stage printed")
    parser.add_argument("key", metavar="KEY", help="the start of its key")
    parser.add_argument("--rank", type=int, default=0, metavar="N", help="the rank that printed it (default 0)")
    parser.add_argument("--follow", action="store_true", help="go on until the stage ends, or Ctrl-C")
    add_store(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the log, and what is added to it if asked to."""
    store, launches = open_store(options)
    stages = planned_stages(launches)
    key = find_key(options.key, stages)
    journal = store.journal_path(key)
    history = read_history(journal)
    if not history.attempts:
        raise UserError(f"{stages[key].title} has not started, so there is no log: harness why {key[:12]} says more")

    def find(history: History) -> Path:
        return log_path(store, key, stages[key], history, options.rank)

    tail = _Tail(find(history))
    if not options.follow:
        tail.show()
        return
    with suppress(KeyboardInterrupt):
        _follow(tail, journal, find)


def log_path(store: Store, key: str, planned: Planned, history: History, rank: int) -> Path:
    """The log of a rank of the newest attempt. Raises UserError if there is none, or it may not be read."""
    folder = store.root / "logs"
    if history.job is not None:
        path = folder / "slurm" / f"{history.job}_{rank}_log.out"
    else:
        path = folder / "local" / f"{_local_job(folder / 'local', key, planned, history)}_{rank}_log.out"
    if not os.access(path, os.R_OK):
        raise UserError(f"no log of rank {rank} at {path}: another --rank, or the host {history.host}, may have it")
    return path


def _local_job(folder: Path, key: str, planned: Planned, history: History) -> str:
    """The newest job outside Slurm that started the stage: its rank 0 printed so, see `harness.progress`."""
    started = f"{planned.stage} {key[:12]}: started".encode()
    logs = sorted(folder.glob("*_0_log.out"), key=lambda path: path.stat().st_mtime, reverse=True)
    job = next((path.name.removesuffix("_0_log.out") for path in logs if started in path.read_bytes()), None)
    if job is None:
        raise UserError(
            f"no log in {folder} is of {planned.title}: it ran outside Slurm on {history.host},"
            " and what runs inline prints to its terminal alone"
        )
    return job


class _Tail:
    """A log, and how much of it is printed."""

    def __init__(self, path: Path) -> None:
        print(f"==> {path} <==", file=sys.stderr)
        self.path = path
        self._position = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def show(self) -> None:
        """Print what is not printed yet. A character that is half written waits."""
        for text in self._new():
            sys.stdout.write(visible(text))
        sys.stdout.flush()

    def _new(self) -> Iterator[str]:
        """The file is opened each time: a handle does not outlive a file system that was away."""
        with suppress(OSError), open(self.path, "rb") as file:
            file.seek(self._position)
            while block := file.read(_BLOCK):
                self._position += len(block)
                yield self._decoder.decode(block)


def _follow(tail: _Tail, journal: Path, find: Callable[[History], Path]) -> None:
    """Print what is there and what comes, in later jobs too, up to what was written just after the stage's end."""
    found: History | None = None
    for history in _histories(journal):
        path = tail.path
        if history is not found:
            with suppress(OSError, UserError):  # not there yet
                path, found = find(history), history
        tail.show()
        if path != tail.path:
            tail = _Tail(path)
            tail.show()
        if is_final(history):
            return
        time.sleep(POLL_SECONDS)


def _histories(journal: Path) -> Iterator[History]:
    """The history, again and again; while the journal cannot be read, as it was."""
    size, history = -1, History()
    while True:
        with suppress(OSError):
            if (now := journal.stat().st_size) != size:
                history, size = read_history(journal), now
        yield history
