"""What the journal of a stage tells: its attempts, how each of them ended, how far it is.

Lives here: reading a journal as a whole. Must not: writing one (`harness.journal`), asking Slurm, judging a stage by
anything but its journal (`harness.overview`).

An attempt that ends without a word was killed, or is still running: a journal cannot tell which. Other hosts may have
other clocks, so events count in the order in which they were appended.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.journal import Event

PROGRESS = ("steps", "epoch", "images")
ENDS = ("done", "failed", "stopped")


@dataclass(kw_only=True)
class Run:
    """One start of the stage and what came of it."""

    time: float
    """Unix time, by the clock of its host."""
    host: str | None = None
    job: str | None = None
    """Slurm's id, `123` or `123_4`; None outside Slurm."""
    attempt: str | None = None
    """The id with the count of requeues."""
    launch: str | None = None
    """As the start names it: the id of the launch that a person typed."""
    ranks: int = 1
    began: int = 0
    """Updates of the checkpoint it went on from."""
    reached: int | None = None
    """Updates, as far as it told; None for a stage that has none."""
    progress: Event | None = None
    """The last event of `PROGRESS`."""
    ended: str | None = None
    """One of `ENDS`, or None. The first word counts: what other ranks say later follows from it."""
    reason: str = ""
    rank: int | None = None
    """The rank that gave the reason."""
    gave_up: bool = False
    """Whether its launch then let the stage be."""

    @property
    def trained(self) -> int:
        """Updates this attempt made."""
        return max(0, (self.reached or 0) - self.began)


@dataclass(kw_only=True)
class History:
    """All attempts at a stage, the oldest first."""

    runs: list[Run] = field(default_factory=list)
    saved_seconds: list[float] = field(default_factory=list)
    """How long each checkpoint held training up."""
    restart_seconds: list[float] = field(default_factory=list)
    """From the start of each attempt to its first sign of progress."""
    cancelled_by: str | None = None
    """Who cancelled the stage, unless it was started again since."""
    _cancelled_in: set[str | None] = field(default_factory=set)
    _tries: int = 0
    _fruitless: int = 0
    _furthest: dict[str, int] = field(default_factory=dict)
    """Images of each split that an attempt has got to."""
    _kept: int = 0
    """Updates of the checkpoint that the next attempt goes on from."""

    @property
    def attempts(self) -> int:
        """How often the stage was started."""
        return len(self.runs)

    @property
    def requeues(self) -> int:
        """How often its newest job was put back into the queue."""
        return max(0, sum(run.job is not None and run.job == self.job for run in self.runs) - 1)

    @property
    def last(self) -> Run | None:
        """The newest attempt."""
        return self.runs[-1] if self.runs else None

    @property
    def job(self) -> str | None:
        """The Slurm job of the newest attempt."""
        return self.last.job if self.last else None

    @property
    def host(self) -> str | None:
        """The host of the newest attempt."""
        return self.last.host if self.last else None

    @property
    def time(self) -> float | None:
        """When the newest attempt began."""
        return self.last.time if self.last else None

    @property
    def progress(self) -> Event | None:
        """How far the newest attempt is, if it told."""
        return self.last.progress if self.last else None

    @property
    def ended(self) -> str | None:
        """`done`, `failed`, `stopped` or `cancelled`; None if the newest attempt runs or died without a word."""
        ended = self.last.ended if self.last else None
        return "cancelled" if self.cancelled_by is not None and ended != "done" else ended

    @property
    def failure(self) -> str | None:
        """Why the last attempt that failed did, of those of the newest launch.

        In rank 0's words, else in those of the rank that was first.
        """
        of_launch = (run for run in reversed(self.runs) if self.last and run.launch == self.last.launch)
        return next((run.reason for run in of_launch if run.ended == "failed"), None)

    @property
    def goodput(self) -> tuple[int, int] | None:
        """Updates that count, and all that were made: an attempt that dies loses those since its checkpoint."""
        if all(run.reached is None for run in self.runs):
            return None
        running = self.runs[-1].ended in (None, "done") and self.runs[-1].reached
        return running or self._kept, sum(run.trained for run in self.runs)

    def tries(self, launch: str | None) -> int:
        """How many attempts in a row, the newest included, ended or may end badly without progress under a launch.

        A checkpoint is progress. An attempt that was warned before it was stopped is the machine's doing and does not
        count; one that was ended without a warning does, for it may have been its own rank that died.
        """
        return self._tries if self.last and self.last.launch == launch else 0

    def fruitless(self, launch: str | None) -> int:
        """How many attempts in a row made no progress under a launch, whatever ended them."""
        return self._fruitless if self.last and self.last.launch == launch else 0

    def cancelled_in(self, launch: str | None) -> bool:
        """Whether a person cancelled the stage under this launch."""
        return launch in self._cancelled_in

    def see(self, event: Event) -> None:
        """Take in the next event; those of no meaning here pass."""
        kind = event.get("event")
        if kind == "cancelled":
            self.cancelled_by = str(event.get("user"))
            self._cancelled_in.add(event.get("launch", self.last.launch if self.last else None))
            return
        if kind not in ("start", "resumed", "saved", "gave_up", *PROGRESS, *ENDS):
            return
        if kind == "start" or not self.runs:  # the line of the first start may be damaged
            self._start(event)
        run = self.runs[-1]
        if kind in PROGRESS:
            self._advance(run, event)
        elif kind == "resumed":
            run.began = run.reached = self._kept = int(event["updates"])
        elif kind == "gave_up":
            run.ended, run.reason, run.gave_up = "failed", str(event["reason"]), True
        elif kind == "saved":
            self._tries, self._fruitless, self._kept = 1, 0, int(event["updates"])
            run.reached = max(run.reached or 0, self._kept)
            self.saved_seconds.append(float(event["seconds"]))
        elif kind in ENDS:
            self._end(run, kind, event)

    def _start(self, event: Event) -> None:
        facts = {name: event[name] for name in ("host", "job", "launch", "ranks", "attempt") if name in event}
        again = self.last is not None and self.last.launch == facts.get("launch")
        self._tries = self._tries + 1 if again else 1
        self._fruitless = self._fruitless + 1 if again else 1
        self.cancelled_by = None
        self.runs.append(Run(time=float(event["time"]), **facts))

    def _advance(self, run: Run, event: Event) -> None:
        if run.progress is None:
            self.restart_seconds.append(float(event["time"]) - run.time)
        if "updates" in event:
            if run.reached is None:  # nothing to go on from was found
                self._kept = 0
            run.reached = int(event["updates"])
        elif event["done"] > self._furthest.get(split := str(event.get("split")), 0):
            if split in self._furthest:  # pages and outputs are kept: this attempt got further than those before
                self._tries, self._fruitless = 1, 0
            self._furthest[split] = event["done"]
        run.progress = event

    def _end(self, run: Run, kind: str, event: Event) -> None:
        if event.get("attempt", run.attempt) != run.attempt:
            return  # of an earlier one, on a node that was cut off
        if run.ended is None or kind == "done":
            run.ended, run.reason, run.rank = kind, str(event.get("reason", "")), event.get("rank")
            if kind == "done":
                self._tries = 0
            elif kind == "stopped" and event.get("warned", True):
                self._tries = max(0, self._tries - 1)
        elif run.ended == kind == "failed" and event.get("rank") == 0:
            run.reason, run.rank = str(event.get("reason", "")), 0


def read_history(path: Path) -> History:
    """What the journal tells; nothing, if there is none. Damaged lines are passed over."""
    history = History()
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return history
    for line in _telling(lines):
        event = _parse(line)
        try:
            history.see(event)
        except (KeyError, TypeError, ValueError, OverflowError):  # an event without its facts
            continue
    return history


def _telling(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Of steps that follow each other only the first and the last: the bulk of a journal need not be parsed."""
    for steps, group in itertools.groupby(lines, _tells_steps):
        held = list(group)
        yield from [held[0], *held[1:][-1:]] if steps else held


def _tells_steps(line: bytes) -> bool:
    """Whether a line is whole and, as far as its ends tell, one event of this kind alone."""
    return line.startswith(b'{"event": "steps"') and line.endswith(b"}") and line.find(b'{"event"', 1) < 0


def _parse(line: bytes) -> Event:
    """The event on a line. A kill may leave half of one, with the next attempt's first event right behind it."""
    for text in (line, line[max(0, line.rfind(b'{"event"')) :]):
        try:
            event = json.loads(text)
        except ValueError:
            continue
        if isinstance(event, dict):
            return event
    return {}
