"""The state of every stage that a launch has planned: what the store, its journals and the queue tell together.

Lives here: looking, judging, finding a stage by the start of its key. Must not: drawing it (`harness.commands`),
asking Slurm (`harness.executors.queue`).

A look at a store on a network takes a millisecond, so many threads look at once, and only journals of unfinished
stages are read.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harness.errors import UserError
from harness.executors.queue import Queued, jobs_by_key
from harness.history import History, read_history
from harness.launches import Launch, Planned
from harness.store import MANIFEST, THREADS, Store

SHORTEST_PREFIX = 4
_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class StageState:
    """What is known of one stage."""

    key: str
    planned: Planned
    state: str
    """One of these.

    done; running; queued: in Slurm's hands, never started; requeued: in its hands again; failed; cancelled: by a
    person; blocked: a stage it needs failed, was cancelled or is blocked; missing: nobody runs it.
    """
    because: str = ""
    """Why it waits, failed or is missing; one line."""
    blocker: str | None = None
    """Key of the stage at the root of a blocked one."""
    job: Queued | None = None
    history: History | None = None
    """None for a stage that is done: nobody has looked."""

    @property
    def nodes(self) -> int | None:
        """Machines of its job, if it has one in the queue."""
        return self.job.nodes if self.job else None

    @property
    def title(self) -> str:
        """What a person reads: `train (dense, seed 0)`."""
        return self.planned.title


def planned_stages(launches: Sequence[Launch]) -> dict[str, Planned]:
    """Every stage of the launches, inputs before users; a stage of several as the first of them names it."""
    stages: dict[str, Planned] = {}
    for launch in launches:
        for key, planned in launch.stages.items():
            stages.setdefault(key, planned)
    return stages


def survey(store: Store, launches: Sequence[Launch], queue: Sequence[Queued] | None) -> dict[str, StageState]:
    """The state of every stage by key, inputs before users. `queue` is None where Slurm does not answer.

    Then a stage whose last attempt has no end counts as running. So does one that runs outside Slurm, unless it was
    killed there: nobody knows.
    """
    stages = planned_stages(launches)
    unfinished = _histories(store, stages)
    jobs = jobs_by_key(launches, queue or ())
    states: dict[str, StageState] = {}
    for key, planned in stages.items():
        if key not in unfinished:
            states[key] = StageState(key=key, planned=planned, state="done")
            continue
        history, job = unfinished[key], jobs.get(key)
        state, because = _judge(history, job, known=queue is not None)
        blocker = None if state in ("running", "failed", "cancelled") else _blocker(planned, states)
        if blocker is not None:
            state, because = "blocked", f"{states[blocker].title} {blocker[:12]} {_ended(states[blocker])}"
        states[key] = StageState(
            key=key, planned=planned, state=state, because=because, blocker=blocker, job=job, history=history
        )
    return states


def find_key(prefix: str, stages: Mapping[str, Planned]) -> str:
    """The key that starts so. Raises UserError if none or several do."""
    if len(prefix) < SHORTEST_PREFIX or not set(prefix) <= set("0123456789abcdef"):
        raise UserError(f"{prefix!r} is not the start of a key: {SHORTEST_PREFIX} or more of 0-9 and a-f are expected")
    found = [key for key in stages if key.startswith(prefix)]
    if not found:
        raise UserError(f"no stage of any launch has a key that starts with {prefix}: see harness status --all")
    if len(found) > 1:
        listed = ", ".join(f"{key[:12]} {stages[key].title}" for key in found[:_LISTED])
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise UserError(f"{prefix} starts the keys of {len(found)} stages: {listed}{more}; give more of the key")
    return found[0]


def ancestors(key: str, stages: Mapping[str, Planned]) -> list[str]:
    """Keys of all stages that a stage needs, in the order of `stages`."""
    needed, open_ = set[str](), [key]
    while open_:
        new = set(stages[open_.pop()].inputs) - needed
        needed |= new
        open_.extend(new)
    return [key for key in stages if key in needed]


def dependants(keys: set[str], stages: Mapping[str, Planned]) -> list[str]:
    """Keys of all other stages that need one of `keys`, directly or not. `stages` has inputs before users."""
    reached = set(keys)
    for key, planned in stages.items():
        if not reached.isdisjoint(planned.inputs):
            reached.add(key)
    return [key for key in stages if key in reached - keys]


def _histories(store: Store, stages: Mapping[str, Planned]) -> dict[str, History]:
    """The history of each stage that is not done."""

    def look(keys: list[str]) -> list[tuple[str, History]]:
        return [(key, read_history(store.journal_path(key))) for key in keys if not _done(store, key, stages[key])]

    keys = list(stages)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(pair for found in pool.map(look, (keys[n::THREADS] for n in range(THREADS))) for pair in found)


def _done(store: Store, key: str, planned: Planned) -> bool:
    """As `Store.done`, for a stage of which only the name and the key are at hand."""
    try:
        with open(f"{store.root}/{planned.stage}/{key[:2]}/{key}/{MANIFEST}", "rb"):
            return True
    except OSError:
        return False


def _judge(history: History, job: Queued | None, *, known: bool) -> tuple[str, str]:
    """The state of an unfinished stage, seen by itself, and why."""
    ended = history.ended
    if job is None and ended == "cancelled":
        return "cancelled", f"cancelled by {history.cancelled_by}"
    if job is not None and (job.state == "PENDING" or history.job != job.job or ended == "stopped"):
        reason = job.reason if job.state == "PENDING" else "waits for its turn in a running job"
        return "requeued" if history.attempts else "queued", reason
    if ended == "failed":
        return "failed", _one_line(history.failure or "")
    if history.last is None:
        return "missing", ""
    if ended == "stopped":
        return "missing", f"stopped: {_one_line(history.last.reason)}"
    if job is not None or not known or history.job is None:
        return "running", ""
    return "missing", f"died without a word in job {history.job} on {history.host}"


def _blocker(planned: Planned, states: Mapping[str, StageState]) -> str | None:
    """The stage that failed or was cancelled and keeps this one from running, directly or through others."""
    for key in planned.inputs:
        if states[key].state in ("failed", "cancelled"):
            return key
        if states[key].state == "blocked":
            return states[key].blocker
    return None


def _ended(state: StageState) -> str:
    return f"failed: {state.because}" if state.state == "failed" else state.because or state.state


def _one_line(text: str) -> str:
    return " ".join(text.split())
