"""`harness logs KEY`: what a rank of the newest attempt at a stage printed.

Lives here: finding log files, printing and following them. Must not: the journal's meaning (`harness.history`).
"""

import argparse
import codecs
import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.commands._store import add_store, open_store
from harness.commands._text import visible
from harness.errors import UserError
from harness.history import History, read_history
from harness.overview import find_key, planned_stages
from harness.store import Store

POLL_SECONDS = 1.0
_FINAL = ("done", "failed", "cancelled")
_BLOCK = 1 << 20


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    path = log_path(store, history, options.rank)
    print(f"==> {path} <==", file=sys.stderr)
    with open(path, "rb") as file:
        if not options.follow:
            _show(file, codecs.getincrementaldecoder("utf-8")("replace"))
            return
        with contextlib.suppress(KeyboardInterrupt):
            _follow(file, journal)


def log_path(store: Store, history: History, rank: int) -> Path:
    """The log of a rank of the newest attempt. Raises UserError with the place where it should be.

    Outside Slurm the journal names no job: there it is the log that was written to last.
    """
    folder = store.root / "logs" / ("slurm" if history.job else "local")
    pattern = f"{history.job or '*'}_{rank}_log.out"
    found = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f"no log of rank {rank} at {folder / pattern}: another --rank, or the host {history.host}, may")
    return found[-1]


def _follow(file: BinaryIO, journal: Path) -> None:
    """Print what is there and what comes, up to what was written just after the stage's end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for ended in _ends(journal):
        _show(file, decoder)
        if not ended:
            time.sleep(POLL_SECONDS)


def _ends(journal: Path) -> Iterator[bool]:
    """Whether the stage has ended, again and again until it has."""
    size, ended = -1, False
    while not ended:
        if (now := journal.stat().st_size) != size:
            size, ended = now, read_history(journal).ended in _FINAL
        yield ended


def _show(file: BinaryIO, decoder: codecs.IncrementalDecoder) -> None:
    """Print what is not printed yet. A character that is half written waits."""
    while block := file.read(_BLOCK):
        sys.stdout.write(visible(decoder.decode(block)))
    sys.stdout.flush()
