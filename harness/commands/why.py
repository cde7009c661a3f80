"""`harness why KEY`: everything that is known of one stage.

Lives here: the report on a stage. Must not: finding out (`harness.overview`).
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from harness.commands._arguments import Commands, add_store
from harness.commands._store import open_store, queue_or_complaint
from harness.commands._text import cut, moment, visible
from harness.history import Run, read_history
from harness.launches import Planned
from harness.overview import StageState, ancestors, dependants, find_key, holder, planned_stages, survey
from harness.store import Store

LISTED = 20


def add_to(commands: Commands) -> None:
    """Add `harness why`."""
    parser = commands.add_parser("why", help="what is known of one stage, and what it waits for")
    parser.add_argument("key", metavar="KEY", help="the start of its key")
    add_store(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the report."""
    store, launches = open_store(options)
    stages = planned_stages(launches)
    key = find_key(options.key, stages)
    queue, complaint = queue_or_complaint(launches)
    states = survey(store, launches, queue)
    direct, later = users(key, stages)
    lines = [
        _verdict(states[key]),
        *([complaint] if complaint else []),
        f"key: {key}",
        *([f"held by {owner}"] if (owner := holder(store, key)) else []),
        *_part("needs", ancestors(key, stages), states),
        *_part("is needed by", direct, states),
        *_part("and through these by", later, states),
        *_attempts(store, key),
        f"spec: {_spec(store, key)}",
    ]
    print(visible("\n".join(lines)))


def users(key: str, stages: Mapping[str, Planned]) -> tuple[list[str], list[str]]:
    """Keys of the stages that need this one themselves, and of those that do through others."""
    direct = {user: None for user, planned in stages.items() if key in planned.inputs}
    return list(direct), [user for user in dependants({key}, stages) if user not in direct]


def _verdict(state: StageState) -> str:
    where = f" (job {state.job.job})" if state.job else ""
    told = f": {state.because}" if state.because else ""
    return f"{state.title} {state.key[:12]} is {state.state}{where}{told}"


def _part(title: str, keys: list[str], states: Mapping[str, StageState]) -> list[str]:
    lines = [f"  {states[key].title} {key[:12]}  {states[key].state}" for key in keys]
    return [f"{title}:", *cut(lines, LISTED)] if lines else []


def _attempts(store: Store, key: str) -> list[str]:
    """One line for each attempt, and where to read on."""
    history = read_history(store.journal_path(key))
    if history.last is None:
        return ["never started"]
    lines = [f"  {_attempt(run)}" for run in history.runs]
    slurm, local = (store.root / "logs" / name for name in ("slurm", "local"))
    logs = slurm / f"{history.job}_*_log.out" if history.job else local
    return ["attempts:", *lines, f"logs: {logs}", f"journal: {store.journal_path(key)}"]


def _attempt(run: Run) -> str:
    where = f"job {run.job}" if run.job else "no job"
    told = f"{run.ended}: {' '.join(run.reason.split())}" if run.reason else run.ended or "has no end in the journal"
    updates = "" if run.reached is None else f", updates {run.began:,} to {run.reached:,}"
    ranks = f"{run.ranks} rank{'s' if run.ranks != 1 else ''}"
    return f"{moment(run.time)}  {where} on {run.host}, {ranks}{updates}: {told}"


def _spec(store: Store, key: str) -> str:
    path: Path = store.root / "specs" / key[:2] / f"{key}.json"
    try:
        return path.read_text().rstrip()
    except OSError as error:
        return f"{path}: {error.strerror}"
