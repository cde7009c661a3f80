"""`harness cancel`: take stages, or all of this store's jobs, back from Slurm.

Lives here: which jobs go, and the word in the journals that keeps launches from starting the stages again. Must not:
ending processes by itself.

Nobody launches meanwhile: the launch lock is held, as a launch does.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.commands._arguments import Commands, add_store
from harness.commands._store import open_store
from harness.commands._text import cut, visible
from harness.errors import UserError
from harness.executors.queue import Queued, ask_queue, jobs_by_key
from harness.executors.queue import cancel as cancel_jobs
from harness.history import read_history
from harness.journal import Journal
from harness.launches import TABLE, Launch, Planned, read_launches
from harness.lease import user_name
from harness.overview import StageState, dependants, find_key, survey
from harness.store import THREADS, Store

LISTED = 20
LOOKS, LOOK_SECONDS = 5, 1.0
"""A job that was submitted or put back in the last instant is seen at the next look at the queue."""


def add_to(commands: Commands) -> None:
    """Add `harness cancel`."""
    parser = commands.add_parser("cancel", help="take stages back from Slurm; nothing starts them again by itself")
    parser.add_argument("keys", nargs="*", metavar="KEY", help="the start of a stage's key")
    parser.add_argument("--all", action="store_true", help="all your jobs of the launches into this store")
    add_store(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Cancel, and say what that did."""
    if bool(options.keys) == options.all:
        raise UserError("which stages? give the start of their keys (see harness status), or --all alone")
    store, _ = open_store(options)
    store.require_writable()
    with store.launch_lock():
        launches = read_launches(store)
        lines = cancel_all(store, launches) if options.all else cancel(options.keys, store, launches, ask_queue())
    print(visible("\n".join(lines)))


def cancel(prefixes: Sequence[str], store: Store, launches: Sequence[Launch], queue: Sequence[Queued]) -> list[str]:
    """Cancel the stages whose keys start so; what was done, for a person."""
    states = survey(store, launches, queue)
    stages = {key: state.planned for key, state in states.items()}
    wanted = list(dict.fromkeys(find_key(prefix, stages) for prefix in prefixes))
    lines = [f"{states[key].title} {key[:12]} is done: nothing to cancel" for key in wanted if not _left(states[key])]
    keys = [key for key in wanted if _left(states[key])]
    jobs = {key: queued for key, queued in jobs_by_key(launches, queue).items() if key in states}
    for key in keys:
        _require_own(key, stages[key], jobs.get(key), launches)
    _mark(keys, store, launches)
    ended = {jobs[key].job for key in keys if key in jobs}
    cancel_jobs(ended)
    for key in keys:
        where = f"job {jobs[key].job}" if key in jobs else "it had no job"
        lines.append(f"cancelled {states[key].title} {key[:12]}: {where}")
    without_them = [key for key in dependants(set(keys), stages) if _left(states[key])]
    told = {*keys, *without_them}
    with_them = [key for key, job in jobs.items() if job.job in ended and key not in told and _left(states[key])]
    return [
        *cut(lines, LISTED),
        *_part("ended with these jobs, and may be started again", with_them, stages),
        *_part("will not run without these stages", without_them, stages),
    ]


def cancel_all(store: Store, launches: Sequence[Launch]) -> list[str]:
    """Cancel this user's jobs of all launches: first those that would start others; what was done, for a person."""
    gone: dict[str, Queued] = {}
    marked: set[str] = set()
    for _ in range(LOOKS):
        left = _own_jobs(launches, ask_queue())
        if not left:
            break
        keys = jobs_by_key(launches, left).keys() - marked
        _mark(keys, store, launches)
        cancel_jobs(queued.job for queued in left if queued.name.startswith(TABLE))
        cancel_jobs(queued.job for queued in left if not queued.name.startswith(TABLE))
        gone |= {queued.job: queued for queued in sorted(left, key=lambda it: not it.name.startswith(TABLE))}
        marked |= keys
        time.sleep(LOOK_SECONDS)
    else:
        raise UserError(f"jobs are still in the queue after {LOOKS} looks, job {left[0].job} for one: try again")
    if not gone:
        return [f"{user_name()} has no job of the launches into {store.root} in the queue"]
    lines = [f"cancelled job {queued.job}: {queued.name}" for queued in gone.values()]
    return [*cut(lines, LISTED), f"{len(gone):,} jobs cancelled, with {len(marked):,} stages"]


def _own_jobs(launches: Sequence[Launch], queue: Iterable[Queued]) -> list[Queued]:
    """This user's jobs that have not been ended."""
    user = user_name()
    recorded = {job.name for launch in launches for job in launch.jobs}
    return [job for job in queue if job.user == user and job.name in recorded and job.state != "COMPLETING"]


def _require_own(key: str, planned: Planned, job: Queued | None, launches: Sequence[Launch]) -> None:
    """Raises UserError if the stage is for another user to cancel."""
    if job is not None and job.user != user_name():
        raise UserError(f"{planned.title} {key[:12]} is in job {job.job} of {job.user}, who alone can cancel it")
    if key not in _origins(launches):
        users = ", ".join(sorted({launch.user for launch in launches if key in launch.stages}))
        raise UserError(f"{planned.title} {key[:12]} is of a launch of {users}, who alone can cancel it")


def _origins(launches: Iterable[Launch]) -> dict[str, set[str]]:
    """Of each stage, the launches this user typed that want it. The record of one that follows has only its jobs."""
    found: dict[str, set[str]] = defaultdict(set)
    for launch in launches:
        if launch.user == user_name():
            for key in (*launch.stages, *(key for job in launch.jobs for task in job.tasks for key in task)):
                found[key].add(launch.origin)
    return dict(found)


def _mark(keys: Iterable[str], store: Store, launches: Sequence[Launch]) -> None:
    """Write into each journal under which launches nobody is to start the stage again. Raises UserError if it fails."""
    origins, user = _origins(launches), user_name()

    def mark(key: str) -> None:
        path = store.journal_path(key)
        for origin in sorted(origins.get(key, ())):
            Journal(path).write("cancelled", user=user, launch=origin)
        if not _is_marked(path, origins.get(key, set())):
            raise UserError(f"cannot write to {path}, so no job was cancelled: ask its owner to share it with you")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(mark, keys))


def _is_marked(path: Path, origins: Iterable[str]) -> bool:
    """Whether the journal says so: writing to one never fails, for a training must go on without."""
    try:
        history = read_history(path)
    except OSError:
        return False
    return all(history.cancelled_in(origin) for origin in origins)


def _part(title: str, keys: Iterable[str], stages: Mapping[str, Planned]) -> list[str]:
    lines = [f"  {stages[key].title} {key[:12]}" for key in keys]
    return [f"{title}: {len(lines):,}", *cut(lines, LISTED)] if lines else []


def _left(state: StageState) -> bool:
    return state.state != "done"
