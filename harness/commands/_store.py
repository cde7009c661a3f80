"""What the commands that follow launches start from.

Lives here: the launches into a store, the queue if it answers. Must not: judging (`harness.overview`).
"""

import argparse
from collections.abc import Sequence

from harness.errors import UserError
from harness.executors.queue import Queued, ask_queue
from harness.launches import Launch, read_launches
from harness.store import Store


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
