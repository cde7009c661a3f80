"""One attempt of a job at its stages: what its journal is told, and whether it is worth another.

Lives here: the launch an attempt belongs to, tries, waiting for a store that is away. Must not: running a stage
(`harness.run`), putting a job back into the queue (its batch file does, see `harness.executors.slurm`).
"""

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.ending import Ending
from harness.errors import GaveUpError, StageError, Stopped, UserError
from harness.history import History, read_history
from harness.journal import Journal
from harness.lease import user_name
from harness.spec import Stage
from harness.store import Store
from harness.topology import Topology

MOST_FRUITLESS = 10
"""Attempts without progress, whatever ended them: a stage that takes longer than a job may never gets anywhere."""
STORE_PATIENCE_S = 600.0
"""How long a job waits for a store that cannot be read or written, before it goes back into the queue."""


@dataclass(frozen=True)
class Attempt:
    """Who runs stages: by hand without a launch, and then nothing is tried again."""

    job: str | None = None
    """Slurm's id."""
    restart: int = 0
    """How often Slurm has put the job back into the queue."""
    launch: str | None = None
    """The launch that somebody typed."""
    tries: int = 1
    """Attempts in a row that may fail without progress."""

    def require_tries_left(self, stage: Stage, store: Store) -> None:
        """Raises GaveUpError when the launch has tried the stage often enough, or a person has cancelled it."""
        if self.launch is None:
            return
        path = store.journal_path(stage.key)
        if (reason := self.enough(read_history(path))) is not None:
            Journal(path).write("gave_up", reason=reason, tries=self.tries, launch=self.launch, attempt=self.name)
            raise GaveUpError(f"{stage.name} {stage.key[:12]}: {reason}")

    def enough(self, history: History) -> str | None:
        """Why the launch should not try a stage again; None if it should."""
        if history.cancelled_in(self.launch):
            return f"cancelled by {history.cancelled_by}"
        if history.tries(self.launch) >= self.tries:
            return history.failure or f"{self.tries} attempts ended without a word: see the logs of the job"
        if history.fruitless(self.launch) >= MOST_FRUITLESS:
            return f"{MOST_FRUITLESS} attempts were ended before they got anywhere"
        return None

    def require_starts(self, store: Store, keys: list[str]) -> None:
        """Raises GaveUpError when the job was started often and its stages hardly ever began: it never will."""
        histories = [read_history(store.journal_path(key)) for key in keys]
        began = sum(run.job == self.job for history in histories for run in history.runs)
        if self.restart - began >= MOST_FRUITLESS:
            raise GaveUpError(f"the job was started {self.restart} times and began {began} times: see its log")

    @property
    def name(self) -> str | None:
        """`123.0`, after a requeue `123.1`: a node that was cut off may tell of an attempt that is long over."""
        return None if self.job is None else f"{self.job}.{self.restart}"

    def facts(self) -> dict[str, str | None]:
        """What a journal is told when it starts."""
        host, user = platform.node(), user_name()
        return {"host": host, "user": user, "job": self.job, "launch": self.launch, "attempt": self.name}


@contextmanager
def journalled(stage: Stage, store: Store, topology: Topology, ending: Ending, attempt: Attempt) -> Iterator[None]:
    """Whichever rank meets a failure writes down its reason; that an attempt is stopped, rank 0 does."""
    try:
        yield
    except BaseException as error:
        told = _told(error, ending)
        journal = Journal(store.journal_path(stage.key))
        kind = type(told).__name__
        if isinstance(told, Stopped | SystemExit | KeyboardInterrupt):
            if topology.leads:
                warned = isinstance(told, Stopped)  # TERM may also come of another rank's death
                journal.write(
                    "stopped", reason=str(told) if warned else "asked to end", warned=warned, attempt=attempt.name
                )
        else:
            reason = str(told) if isinstance(told, UserError | StageError) else f"{kind}: {told}"
            journal.write("failed", kind=kind, rank=topology.rank, reason=reason, attempt=attempt.name)
        if told is error:
            raise
        raise told from error


@contextmanager
def tried_again(attempt: Attempt, store: Store, keys: list[str]) -> Iterator[None]:
    """In a job of a launch a failure is an attempt that stopped, until there were too many; without one it is final."""
    if attempt.launch is None:
        yield
        return
    try:
        await_store(store, keys)
        attempt.require_starts(store, keys)
        yield
    except GaveUpError:
        raise
    except (UserError, StageError, OSError) as error:
        await_store(store, keys)
        raise Stopped(f"{error}; the job is tried again") from error


def await_store(store: Store, keys: list[str], patience_s: float = STORE_PATIENCE_S) -> None:
    """Wait until the store can be read and written: a server may be away for a while. Raises Stopped if it stays so."""
    end = time.monotonic() + patience_s
    while (trouble := _trouble(lambda: store.require_here(keys))) is not None:
        if time.monotonic() > end:
            raise Stopped(f"{trouble}; waited {patience_s:.0f} s")
        time.sleep(1.0)


def require_code(folder: Path) -> None:
    """Raises Stopped unless this is the code in the folder: with the store away, Python may find some other."""
    running = Path(__file__).resolve().parents[1]
    if running != folder.resolve():
        raise Stopped(f"the job's code is {folder}, but {running} was found: is the store there?")


def _trouble(probe: Callable[[], None]) -> UserError | None:
    try:
        probe()
    except UserError as error:
        return error
    return None


def _told(error: BaseException, ending: Ending) -> BaseException:
    """What the machine does to a stage, a full disk or a rank that is gone, is the stage's failure and no defect.

    Ranks that are told to end do not do so at the same instant: what the others see of it is no failure.
    """
    from harness.engine.group import is_lost_rank

    if is_lost_rank(error):
        if ending.reason is not None:
            return Stopped(ending.reason)
        detail = str(error).splitlines()[0].rpartition("] ")[2]
        return StageError(f"another rank has died, or kept this one waiting too long (see --patience): {detail}")
    if isinstance(error, OSError):
        return StageError(f"{type(error).__name__}: {error}")
    return error
