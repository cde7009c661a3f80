"""What was asked for by each launch into a store, kept there so that anybody can follow it.

Lives here: the record of a launch, its JSON, reading all of them. Must not: asking Slurm (`harness.executors.queue`).

    STORE/launches/<id>.json     written before the first job is submitted, never changed

It names every stage of the plan with its inputs, and the jobs by name: a job in the queue is found again by its name
and its place in an array, whoever submitted it and however the submission ended.
"""

import dataclasses
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.store import Store, replace_file


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
    results: str
    """Where its table goes."""
    nodes: int
    gpus: int
    stages: dict[str, Planned]
    """By key, inputs before users: the whole plan, also what was done already."""
    jobs: tuple[Job, ...] = ()


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
    """All launches into this store, the newest first. Raises UserError if a record is damaged."""
    return sorted(
        (_read(path) for path in (store.root / "launches").glob("[0-9a-f]*.json")),
        key=lambda launch: (launch.time, launch.id),
        reverse=True,
    )


def _read(path: Path) -> Launch:
    try:
        form = json.loads(path.read_text())
        stages = {key: Planned(**{**fact, "inputs": tuple(fact["inputs"])}) for key, fact in form["stages"].items()}
        jobs = tuple(Job(**{**job, "tasks": tuple(tuple(task) for task in job["tasks"])}) for job in form["jobs"])
        return Launch(**{**form, "stages": stages, "jobs": jobs})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is no record of a launch ({error}): delete it; nothing but the record is lost"
        ) from error
