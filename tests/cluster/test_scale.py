"""Ten thousand tasks in a real Slurm's queue: a few calls put them there, a few take them out, nothing twice.

All jobs are held, so none runs. The figures are printed (`pytest -s`).
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.executors import cluster
from harness.executors.cluster import Request
from harness.executors.queue import ask_queue, jobs_by_key, query
from harness.launches import Launch, new_id, read_launches
from harness.placement import Placement, to_record
from harness.plan import Step
from harness.profile import Profile
from harness.store import Store
from tests.cluster.slurm import SlurmCluster
from tests.executors.test_cluster import planned
from tests.executors.toy import Prepare, Toy, Train, plan

ROOT = Path(__file__).parents[2]
LARGEST_ARRAY = 1000
LINKS = 1_000
DATA = Prepare("data")


@pytest.fixture
def queue(slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """The cluster as this process's own, and its queue empty before and after."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    assert ask_queue() == []
    yield slurm
    slurm.run(["scancel", "--me"])


def alike(stages: int) -> list[Step]:
    """Trainings that differ in their seed alone."""
    return plan(DATA, *(Train(f"seed {n}", DATA) for n in range(stages - 1)))


def request(steps: list[Step], folder: Path) -> Request:
    """A launch of the plan whose jobs are all held."""
    placement = Placement(store=folder / "store", results=folder, site=Profile(sbatch={"hold": True}))
    launch = new_id()
    record = Launch(
        id=launch, origin=launch, time=time.time(), user="ana", benchmark="toy", suite="full", seeds=1,
        executor="slurm", placement=to_record(placement),
        stages={step.stage.key: planned(step) for step in steps},
    )  # fmt: skip
    (folder / "project" / "harness").mkdir(parents=True, exist_ok=True)
    (folder / "project" / "harness" / "run.py").write_text("")
    return Request(launch=record, steps=steps, placement=placement, root=folder / "project")


def require_one_job_each(steps: list[Step], folder: Path) -> None:
    """Every stage is in exactly one task of the queue."""
    launches, queued = read_launches(Store(folder / "store")), ask_queue()
    jobs = {job.name: job for launch in launches for job in launch.jobs}
    keys: Counter[str] = Counter()
    for task in queued:
        job = jobs[task.name]
        if job.tasks:
            keys.update(job.tasks[int(task.job.partition("_")[2]) if job.array else 0])
    assert keys == Counter(step.stage.key for step in steps)
    assert jobs_by_key(launches, queued).keys() == keys.keys()


def cancel_all() -> None:
    """By the ids of arrays, not of their tasks."""
    query("scancel", *sorted({job.job.partition("_")[0] for job in ask_queue()}))
    assert ask_queue() == []


def test_ten_thousand_tasks_are_handed_over_by_a_few_calls(queue: SlurmCluster, tmp_path: Path) -> None:
    steps, said = alike(10_000), list[str]()
    started = time.monotonic()
    assert cluster.submit(request(steps, tmp_path), said.append)
    seconds = time.monotonic() - started
    files = sorted((tmp_path / "store" / "logs" / "slurm").glob("[0-9]*_submission.sh"))
    print(f"10,000 tasks by {len(files)} calls of sbatch in {seconds:.1f} s")
    assert seconds <= 60
    assert len(files) == len(said) <= 15

    started = time.monotonic()
    require_one_job_each(steps, tmp_path)
    tasks = Counter(job.job.partition("_")[0] for job in ask_queue())
    print(f"squeue twice: {time.monotonic() - started:.1f} s")
    assert sum(tasks.values()) == 10_001, "and the table"
    assert max(tasks.values()) <= LARGEST_ARRAY
    assert {job.state for job in ask_queue()} == {"PENDING"}

    started = time.monotonic()
    cancel_all()
    print(f"cancelled in {time.monotonic() - started:.1f} s")


def test_chains_are_submitted_by_tens_a_second(queue: SlurmCluster, tmp_path: Path) -> None:
    """A hundred chains of ten: each job waits for another one, so only their first links are an array."""
    stages: list[Toy] = [DATA]
    for chain in range(LINKS // 10):
        for link in range(10):
            stages.append(Train(f"{chain} {link}", stages[-1] if link else DATA))
    steps = plan(*stages)
    started = time.monotonic()
    assert cluster.submit(request(steps, tmp_path), lambda _: None)
    seconds = time.monotonic() - started
    singles = sum("_" not in job.job for job in ask_queue())
    print(f"{singles:,} single jobs and {LINKS // 10} in an array in {seconds:.1f} s, {singles / seconds:.0f} a second")
    require_one_job_each(steps, tmp_path)
    assert singles / seconds >= 5
    cancel_all()


def test_two_launches_at_the_same_moment_submit_every_stage_once(queue: SlurmCluster, tmp_path: Path) -> None:
    program = "from tests.cluster.test_scale import *; launch_when_told()"
    two = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env=dict(os.environ), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in two:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    said = []
    for process in two:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in two:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        said.append(json.loads(out))
    require_one_job_each(alike(300), tmp_path)
    assert sorted(len(lines) for lines in said) == [3, 300], "one submits, the other tells what is in the queue"
    cancel_all()


def launch_when_told() -> None:
    """One of several launches; says `ready`, then what it announced."""
    asked, said = request(alike(300), Path(sys.argv[1])), list[str]()
    print("ready", flush=True)
    sys.stdin.readline()
    cluster.submit(asked, said.append)
    print(json.dumps(said))
