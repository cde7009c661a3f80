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
from harness.history import History, Run, read_history
from harness.launches import Launch, Planned
from harness.lease import Owner, owner_of
from harness.store import THREADS, Store

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
    person; blocked: a stage it needs failed, was cancelled or is blocked; missing: nobody runs it; unknown: Slurm does
    not say whether anybody does.
    """
    because: str = ""
    """Why it waits, failed or is missing; one line."""
    blocker: str | None = None
    """Key of the stage at the root of a blocked one."""
    job: Queued | None = None
    history: History | None = None
    """None for a stage that is done: nobody has looked."""
    moved: float | None = None
    """Unix time of the last word in the journal of an attempt without an end, by the store's clock."""

    @property
    def nodes(self) -> int | None:
        """Machines of its job, if it has one in the queue."""
        return self.job.nodes if self.job else None

    @property
    def title(self) -> str:
        """What a person reads: `train (dense, seed 0)`."""
        return self.planned.title


def planned_stages(launches: Sequence[Launch]) -> dict[str, Planned]:
    """Every stage of the launches, inputs before users; a stage of several as the first of them names it.

    A launch that follows another by itself names none.
    """
    stages: dict[str, Planned] = {}
    for launch in launches:
        for key, planned in launch.stages.items():
            stages.setdefault(key, planned)
    return stages


def with_jobs(launches: Sequence[Launch], queue: Sequence[Queued] | None) -> list[Launch]:
    """The launches with something in the queue, with all that follow them; the newest one if there are none.

    All of them where Slurm does not answer.
    """
    if queue is None:
        return list(launches)
    names = {queued.name for queued in queue}
    origins = {launch.origin for launch in launches if any(job.name in names for job in launch.jobs)}
    origins = origins or {launch.origin for launch in launches[:1]}
    return [launch for launch in launches if launch.origin in origins]


def survey(store: Store, launches: Sequence[Launch], queue: Sequence[Queued] | None) -> dict[str, StageState]:
    """The state of every stage by key, inputs before users. `queue` is None where Slurm does not answer.

    An attempt without an end that no job stands for is running as long as its process holds the stage.
    """
    stages, known = planned_stages(launches), queue is not None
    unfinished = _look(store, stages, known=known)
    jobs = jobs_by_key(launches, queue or ())
    states: dict[str, StageState] = {}
    for key, planned in stages.items():
        if key not in unfinished:
            states[key] = StageState(key=key, planned=planned, state="done")
            continue
        seen, job = unfinished[key], jobs.get(key)
        state, because = _in_queue(seen.history, job) if job else _outside(seen, known=known)
        blocker = None if state in ("running", "failed", "cancelled") else _blocker(planned, states, known=known)
        if blocker is not None:
            state, because = "blocked", f"{states[blocker].title} {blocker[:12]} {_ended(states[blocker])}"
        states[key] = StageState(
            key=key, planned=planned, state=state, because=because, blocker=blocker,
            job=job, history=seen.history, moved=seen.moved,
        )  # fmt: skip
    return states


def holder(store: Store, key: str) -> Owner | None:
    """The process that has the stage, unless it is certainly dead."""
    return owner_of(store.lease_path(key))


def is_final(history: History) -> bool:
    """Whether nothing starts a stage again by itself.

    A failure outside a launch is final. Inside one it is tried again, until the launch says, and no rank, that it gave
    up.
    """
    if history.ended == "failed" and history.last is not None:
        return history.last.launch is None or history.last.gave_up
    return history.ended in ("done", "cancelled")


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
    return [key for key in stages if key in reached and key not in keys]


@dataclass(frozen=True)
class _Seen:
    """What the store tells of an unfinished stage."""

    history: History
    moved: float | None
    owner: Owner | None
    """Of an attempt without an end, where it matters."""


def _look(store: Store, stages: Mapping[str, Planned], *, known: bool) -> dict[str, _Seen]:
    """All stages that are not done."""

    def look(keys: list[str]) -> list[tuple[str, _Seen]]:
        return [(key, _see(store, key, known=known)) for key in keys if not store.has(stages[key].stage, key)]

    keys = list(stages)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(pair for found in pool.map(look, (keys[n::THREADS] for n in range(THREADS))) for pair in found)


def _see(store: Store, key: str, *, known: bool) -> _Seen:
    path = store.journal_path(key)
    history = read_history(path)
    if history.last is None or history.last.ended is not None:
        return _Seen(history, None, None)
    alone = history.last.job is None or not known  # else the queue tells whether it runs
    return _Seen(history, path.stat().st_mtime, holder(store, key) if alone else None)


def _in_queue(history: History, job: Queued) -> tuple[str, str]:
    """The state of an unfinished stage that a job runs, or will run: however its last attempt ended, it goes on."""
    again = "requeued" if history.attempts else "queued"
    if job.state == "PENDING":
        return again, job.reason
    if history.last is None or history.job != job.job:
        return again, "waits for its turn in a running job"
    if history.last.ended is not None:
        return again, "starts again in its running job"
    return "running", ""


def _outside(seen: _Seen, *, known: bool) -> tuple[str, str]:
    """The state of an unfinished stage that no job is known for, and why."""
    history, last = seen.history, seen.history.last
    if history.ended == "cancelled":
        return "cancelled", f"cancelled by {history.cancelled_by}"
    if history.ended == "failed":
        return "failed", _one_line(history.failure or "")
    if seen.owner is not None:
        return "running", ""
    return "missing" if known else "unknown", _end(last) if last else ""


def _end(run: Run) -> str:
    if run.ended == "stopped":
        return f"stopped: {_one_line(run.reason)}"
    if run.ended == "done":
        return "was done, but is no longer in the store"
    return f"died without a word{f' in job {run.job}' if run.job else ''} on {run.host}"


def _blocker(planned: Planned, states: Mapping[str, StageState], *, known: bool) -> str | None:
    """The stage that keeps this one from running, directly or through others: nothing starts it again.

    Where Slurm does not answer, a failure that is not final may be on its second try.
    """
    for key in planned.inputs:
        state = states[key]
        if state.state == "blocked":
            return state.blocker
        if state.state in ("failed", "cancelled") and (known or (state.history and is_final(state.history))):
            return key
    return None


def _ended(state: StageState) -> str:
    return f"failed: {state.because}" if state.state == "failed" else state.because or state.state


def _one_line(text: str) -> str:
    return " ".join(text.split())
