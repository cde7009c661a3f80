"""What happened while a stage ran: one JSON object a line, appended.

Lives here: writing and reading events. Must not: drawing them (`harness.progress`), counting attempts
(`harness.history`).

Every event has a name and a time (seconds since 1970, by the clock of the machine that wrote it):

    start       stage, ranks, host, user, job, launch, attempt     an attempt begins
    resumed     updates                                            training goes on after so many updates
    steps, epoch    epoch, epochs, updates, done, of (images), loss, images_per_s, seconds_left
    images      split, done, of, images_per_s, seconds_left        how far preparing, or storing outputs, is
    saved       updates, seconds                                   a checkpoint is written; it held training up so long
    unsaved     reason                                             one could not be written
    damaged     checkpoint                                         one is passed over
    stopped     reason, warned, attempt                            the attempt ends in order to go on later
    failed      kind, rank, reason, attempt                        the attempt failed; several ranks may say so
    gave_up     reason, tries, launch, attempt                     the launch has tried it often enough
    cancelled   user, launch                                       a person does not want the stage
    done        stage, seconds                                     published

An attempt that ends with none of the last five died without a word, or still runs.
"""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Event = dict[str, Any]

MOST_WAITING = 1000
"""Events that are kept while nothing can be written."""


class Journal:
    """The events of one stage. Only rank 0 has a path and a listener; the others tell nobody."""

    def __init__(self, path: Path | None, listener: Callable[[Event], None] | None = None) -> None:
        self.path = path
        self.listener = listener
        self._waiting: list[str] = []
        self._turn = threading.Lock()  # checkpoints are written, and told, by a thread

    def write(self, event: str, **facts: Any) -> None:
        """Append one event; what cannot be written now goes with the next one: a story is not worth a training."""
        entry: Event = {"event": event, "time": round(time.time(), 3), **facts}
        with self._turn:
            if self.path is not None:
                self._waiting = [*self._waiting[-MOST_WAITING:], json.dumps(entry) + "\n"]
                self._append(self.path)
            if self.listener is not None:
                self.listener(entry)

    def _append(self, path: Path) -> None:
        """All that waits in one call, so that readers never see half a line."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab", buffering=0) as file:
                file.write("".join(self._waiting).encode())
        except OSError:
            return
        self._waiting = []


class Follower:
    """Reads what is appended to a journal from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = path.stat().st_size if path.exists() else 0

    def new_events(self) -> list[Event]:
        """Events since the last call, oldest first; a line still being written waits for the next call."""
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self.position)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
