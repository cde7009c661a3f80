"""What the commands that follow launches start from.

Lives here: the option `--store`, the launches into it, the queue if it answers. Must not: judging (`harness.overview`).
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserError
from harness.executors.queue import Queued, ask_queue
from harness.launches import Launch, read_launches
from harness.store import Store

_STORE = Path(__file__).resolve().parents[2] / "store"


def add_store(parser: argparse.ArgumentParser) -> None:
    """The option that names the store, as launches have it."""
    parser.add_argument(
        "--store", type=Path, default=Path(os.environ.get("HARNESS_STORE", _STORE)),
        help="folder of artefacts (default: $HARNESS_STORE, else %(default)s)",
    )  # fmt: skip


def open_store(options: argparse.Namespace) -> tuple[Store, list[Launch]]:
    """The store and its launches, the newest first. Raises UserError if there are none."""
    store = Store(options.store)
    launches = read_launches(store)
    if not launches:
        raise UserError(f"no launch into {store.root} is known: name another --store, or launch a benchmark")
    return store, launches


def queue_or_complaint(launches: Sequence[Launch]) -> tuple[list[Queued] | None, str]:
    """The queue, or None and one line that says why it is not known. Nobody is asked if no launch went to Slurm."""
    if all(launch.executor != "slurm" for launch in launches):
        return [], ""
    try:
        return ask_queue(), ""
    except UserError as error:
        return None, f"{error}; this is what the store alone tells"
