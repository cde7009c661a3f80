"""What was asked for by each launch into a store, kept there so that anybody can follow it.

Lives here: the record of a launch, its JSON, reading all of them. Must not: asking Slurm (`harness.executors.queue`).

    STORE/launches/<id>.json     written before the first job is submitted, never changed

It names every stage of the plan with its inputs, and the jobs by name: a job in the queue is found again by its name
and its place in an array, whoever submitted it and however the submission ended.
"""

import dataclasses
import json
import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.store import Store, replace_file

TABLE = "harness-table-"
"""How the name of a launch's last job begins."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One stage of a plan, as far as a person who follows it needs to know."""

    stage: str
    """Its name: train, prune, ..."""
    label: str
    """The first entry that needs it."""
    ranks: str
    """`one` or `all`."""
    inputs: tuple[str, ...]
    """Keys of the stages nested in it."""

    @property
    def title(self) -> str:
        """What a person reads: `train (dense, seed 0)`."""
        return f"{self.stage} ({self.label})"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One Slurm job, or an array of them."""

    name: str
    """Of this launch alone, on the whole cluster."""
    tasks: tuple[tuple[str, ...], ...]
    """Keys that each task of the array runs, in order; one task for a job that is no array, none for the last job."""
    array: bool


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One launch of one suite."""

    id: str
    """Eight hexadecimal digits."""
    origin: str
    """The id of the launch that a person typed; another one's if this launch follows it by itself."""
    time: float
    """Unix time."""
    user: str
    benchmark: str
    suite: str
    seeds: int
    executor: str
    placement: dict[str, Any]
    """As `harness.placement.to_record` has it."""
    stages: dict[str, Planned]
    """By key, inputs before users: the whole plan, also what was done already. A follower's is that of its origin."""
    jobs: tuple[Job, ...] = ()

    @property
    def table(self) -> tuple[str, str, int, str]:
        """Which table it draws, and where."""
        return self.benchmark, self.suite, self.seeds, self.placement["results"]

    @property
    def shape(self) -> tuple[int, int]:
        """Nodes, and ranks on each."""
        return self.placement["nodes"], self.placement["gpus"]


def new_id() -> str:
    """An id that no other launch has."""
    return secrets.token_hex(4)


def write_launch(launch: Launch, store: Store) -> Path:
    """Keep the record, whole."""
    path = store.root / "launches" / f"{launch.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(dataclasses.asdict(launch), allow_nan=False) + "\n")
    return path


def read_launches(store: Store) -> list[Launch]:
    """All launches into this store, the newest first; a record that cannot be read is told and passed over."""
    found = [_read(path) for path in (store.root / "launches").glob("[0-9a-f]*.json")]
    return sorted((it for it in found if it is not None), key=lambda it: (it.time, it.id), reverse=True)


def _read(path: Path) -> Launch | None:
    """The record, as far as this version knows its fields: others may launch with newer code."""
    try:
        form = json.loads(path.read_text())
        form["stages"] = {_key(key): _planned(fact) for key, fact in form["stages"].items()}
        form["jobs"] = tuple(_job(job) for job in form["jobs"])
        return Launch(**{field.name: form[field.name] for field in dataclasses.fields(Launch)})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        print(f"{path} is passed over: no record of a launch ({type(error).__name__} {error})", file=sys.stderr)
        return None


def _planned(fact: dict[str, Any]) -> Planned:
    if not re.fullmatch("[a-z_]+", fact["stage"]):
        raise ValueError(f"{fact['stage']!r} is no stage")
    inputs = tuple(_key(key) for key in fact["inputs"])
    return Planned(stage=fact["stage"], label=str(fact["label"]), ranks=str(fact["ranks"]), inputs=inputs)


def _job(form: dict[str, Any]) -> Job:
    tasks = tuple(tuple(_key(key) for key in task) for task in form["tasks"])
    return Job(name=str(form["name"]), tasks=tasks, array=bool(form["array"]))


def _key(text: str) -> str:
    """Keys become paths."""
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"{text!r} is no key")
    return text
