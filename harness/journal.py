"""What happened while a stage ran: one JSON object a line, appended.

Lives here: writing and reading events. Must not: drawing them (`harness.progress`).
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    """The events of one stage. Only rank 0 has a path and a listener; the others tell nobody."""

    def __init__(self, path: Path | None, listener: Callable[[Event], None] | None = None) -> None:
        self.path = path
        self.listener = listener

    def write(self, event: str, **facts: Any) -> None:
        """Append one event; a line is written in one call, so readers never see half of it."""
        entry: Event = {"event": event, "time": round(time.time(), 3), **facts}
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a") as file:
                file.write(json.dumps(entry) + "\n")
        if self.listener is not None:
            self.listener(entry)


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
