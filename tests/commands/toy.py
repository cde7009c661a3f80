"""A launch of a small plan, without any of its networks: prepare, two trainings, what is made of the first."""

import hashlib
import json
from collections.abc import Iterable

from harness.launches import Job, Launch, Planned, write_launch
from harness.store import MANIFEST, Store

ID = "0a1b2c3d"
USER = "ada"
TABLE = f"harness-table-{ID}"


def key(name: str) -> str:
    """The key of a stage in these tests."""
    return hashlib.sha256(name.encode()).hexdigest()


PLAN = {
    "data": ("prepare", "dense", "one", ()),
    "dense": ("train", "dense", "all", ("data",)),
    "sparse": ("prune", "sparse teacher", "all", ("dense", "data")),
    "student": ("distill", "student of a sparse teacher", "all", ("sparse", "data")),
    "dense_top1": ("evaluate", "dense", "all", ("dense", "data")),
    "student_top1": ("evaluate", "student of a sparse teacher", "all", ("student", "data")),
}


def planned() -> dict[str, Planned]:
    return {
        key(name): Planned(stage=stage, label=label, ranks=ranks, inputs=tuple(map(key, inputs)))
        for name, (stage, label, ranks, inputs) in PLAN.items()
    }


def launch(stages: dict[str, Planned] | None = None, jobs: tuple[Job, ...] | None = None, id_: str = ID) -> Launch:
    """By default a job of its own for each stage, called as the stage is in this plan."""
    if jobs is None:
        jobs = tuple(Job(name=job_name(name), tasks=((key(name),),), array=False) for name in PLAN)
        jobs = (*jobs, Job(name=TABLE, tasks=(), array=False))
    return Launch(
        id=id_, origin=id_, time=1_700_000_000.0, user=USER, benchmark="imagenet", suite="full", seeds=1,
        executor="slurm", placement={"results": "results", "nodes": 4, "gpus": 8},
        stages=stages or planned(), jobs=jobs,
    )  # fmt: skip


def job_name(name: str) -> str:
    return f"harness-{name}-{ID}"


def launched(store: Store) -> Launch:
    """The launch of the plan, on record."""
    made = launch()
    write_launch(made, store)
    return made


def finish(store: Store, *names: str) -> None:
    """Publish stages of the plan, empty."""
    for name in names:
        folder = store.root / PLAN[name][0] / key(name)[:2] / key(name)
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text("{}")


def tell(store: Store, name: str, *events: dict[str, object]) -> None:
    """Append events to a stage's journal, a second apart."""
    append(store, key(name), events)


def append(store: Store, key_: str, events: Iterable[dict[str, object]]) -> None:
    path = store.journal_path(key_)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        for second, event in enumerate(events):
            file.write(json.dumps({"event": event["event"], "time": 1_700_000_000.0 + second, **event}) + "\n")


def start(job: str | None, ranks: int = 32) -> dict[str, object]:
    return {"event": "start", "stage": "x", "ranks": ranks, "host": "node7", "job": job, "launch": ID}


def epoch(number: int, updates: int) -> dict[str, object]:
    return {
        "event": "epoch", "epoch": number, "epochs": 90, "done": updates * 256, "of": 90 * 5004 * 256, "loss": 2.5,
        "images_per_s": 12345.6, "seconds_left": 3725.0, "updates": updates,
    }  # fmt: skip


def gave_up(reason: str) -> dict[str, object]:
    return {"event": "gave_up", "reason": reason, "tries": 3, "launch": ID, "attempt": None}


def failed(reason: str, rank: int = 0) -> dict[str, object]:
    return {"event": "failed", "kind": "StageError", "rank": rank, "reason": reason}
