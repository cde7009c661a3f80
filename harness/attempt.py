"""One attempt of a job at its stages: what its journal is told, and whether it is worth another.

Lives here: the launch an attempt belongs to, tries, waiting for a store that is away. Must not: running a stage
(`harness.run`), putting a job back into the queue (its batch file does, see `harness.executors.slurm`).
"""

import getpass
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.ending import Ending
from harness.errors import GaveUpError, StageError, Stopped, UserError
from harness.history import read_history
from harness.journal import Journal
from harness.spec import Stage
from harness.store import Store
from harness.topology import Topology

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
        """Raises GaveUpError when the launch has tried the stage often enough."""
        if self.launch is None:
            return
        history = read_history(store.journal_path(stage.key))
        if history.tries(self.launch) >= self.tries:
            reason = history.failure or "each ended without a word: see the logs of the job"
            raise GaveUpError(f"{stage.name} {stage.key[:12]} failed {self.tries} times: {reason}")

    @property
    def name(self) -> str | None:
        """`123.0`, after a requeue `123.1`: a node that was cut off may tell of an attempt that is long over."""
        return None if self.job is None else f"{self.job}.{self.restart}"

    def facts(self) -> dict[str, str | None]:
        """What a journal is told when it starts."""
        host, user = platform.node(), getpass.getuser()
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
        yield
    except GaveUpError:
        raise
    except (UserError, StageError) as error:
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
