"""`harness cancel`: take stages, or all of this store's jobs, back from Slurm.

Lives here: which jobs go, and the word in the journals that keeps launches from starting the stages again. Must not:
ending processes by itself.
"""

import argparse
import getpass
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.commands._store import add_store, open_store
from harness.commands._text import cut
from harness.errors import UserError
from harness.executors.queue import Queued, ask_queue, jobs_by_key, query
from harness.journal import Journal
from harness.launches import Launch, Planned
from harness.overview import StageState, dependants, find_key, survey
from harness.store import THREADS, Store

CHUNK = 500
"""Ids that one scancel is given."""
LISTED = 20
TABLE = "harness-table-"
"""How the names of jobs begin that draw the table and start what is missing."""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    store, launches = open_store(options)
    queue = ask_queue()
    lines = cancel_all(store, launches, queue) if options.all else cancel(options.keys, store, launches, queue)
    print("\n".join(lines))


def cancel(prefixes: Sequence[str], store: Store, launches: Sequence[Launch], queue: Sequence[Queued]) -> list[str]:
    """Cancel the stages whose keys start so; what was done, for a person."""
    states = survey(store, launches, queue)
    stages = {key: state.planned for key, state in states.items()}
    wanted = list(dict.fromkeys(find_key(prefix, stages) for prefix in prefixes))
    lines = [f"{states[key].title} {key[:12]} is done: nothing to cancel" for key in wanted if not _left(states[key])]
    keys = [key for key in wanted if _left(states[key])]
    _mark(keys, store, launches)
    jobs = {key: queued.job for key, queued in jobs_by_key(launches, queue).items()}
    ended = {jobs[key] for key in keys if key in jobs}
    _scancel(ended)
    for key in keys:
        where = f"job {jobs[key]}" if key in jobs else "it had no job"
        lines.append(f"cancelled {states[key].title} {key[:12]}: {where}")
    without_them = [key for key in dependants(set(keys), stages) if _left(states[key])]
    told = {*keys, *without_them}
    with_them = [key for key, job in jobs.items() if job in ended and key not in told and _left(states[key])]
    return [
        *cut(lines, LISTED),
        *_part("ended with these jobs, and may be started again", with_them, stages),
        *_part("will not run without these stages", without_them, stages),
    ]


def cancel_all(store: Store, launches: Sequence[Launch], queue: Sequence[Queued]) -> list[str]:
    """Cancel this user's jobs of all launches: first those that would start others; what was done, for a person."""
    user = getpass.getuser()
    recorded = {job.name for launch in launches for job in launch.jobs}
    mine = [queued for queued in queue if queued.user == user and queued.name in recorded]
    if not mine:
        return [f"{user} has no job of the launches into {store.root} in the queue"]
    keys = jobs_by_key(launches, mine)
    tables = [queued for queued in mine if queued.name.startswith(TABLE)]
    others = [queued for queued in mine if not queued.name.startswith(TABLE)]
    _scancel(queued.job for queued in tables)
    _mark(list(keys), store, launches)
    _scancel(queued.job for queued in others)
    lines = [f"cancelled job {queued.job}: {queued.name}" for queued in (*tables, *others)]
    return [*cut(lines, LISTED), f"{len(mine):,} jobs cancelled, with {len(keys):,} stages"]


def _mark(keys: Iterable[str], store: Store, launches: Sequence[Launch]) -> None:
    """Write into each journal under which launches nobody is to start the stage again."""
    user = getpass.getuser()

    def mark(key: str) -> None:
        for origin in sorted({launch.origin for launch in launches if key in launch.stages}):
            Journal(store.journal_path(key)).write("cancelled", user=user, launch=origin)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(mark, keys))


def _scancel(jobs: Iterable[str]) -> None:
    """Raises UserError with scancel's own words if it refuses."""
    ids = sorted(set(jobs))
    for first in range(0, len(ids), CHUNK):
        query("scancel", *ids[first : first + CHUNK])


def _part(title: str, keys: Iterable[str], stages: Mapping[str, Planned]) -> list[str]:
    lines = [f"  {stages[key].title} {key[:12]}" for key in keys]
    return [f"{title}: {len(lines):,}", *cut(lines, LISTED)] if lines else []


def _left(state: StageState) -> bool:
    return state.state != "done"
