"""Every kind of fault alone, on a running training: what the journal tells afterwards is the expected story.

One launch trains the same network under several seeds. Once a training has a checkpoint it meets a fault that an
attempt should outlive, and when that is healed another one that it cannot. Minutes: `--long` (`make chaos`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from harness.history import History
from tests.cluster import faults
from tests.cluster.faults import Heal, Victim
from tests.cluster.project import Project
from tests.cluster.slurm import SlurmCluster

BENCHMARK = Path(__file__).with_name("faults_benchmark.py")
OPTIONS = ("--nodes", "2", "--gpus", "1", "--minutes", "60", "--patience", "10", "--checkpoint-minutes", "0.01")
SECONDS = 900

Fault = tuple[Callable[[Victim], Heal], float]
"""And for how many seconds it stays."""
OUTLIVED: dict[str, Fault] = {
    "the disk is full": (faults.fill_disk, 4),
    "the store is gone": (faults.vanish, 4),
    "the store is read-only": (faults.make_read_only, 4),
    "the controller restarts": (faults.restart_controller, 4),
    "a clock is an hour ahead": (partial(faults.wrong_clock, hours=1), 2),
    "a clock is an hour behind": (partial(faults.wrong_clock, hours=-1), 2),
    "a link is cut and healed": (faults.cut_link, 2),
}
FATAL: dict[str, Fault] = {
    "time is up": (faults.tell_time_is_up, 0),
    "a rank is killed": (faults.kill_rank, 0),
    "cancelled": (faults.cancel, 0),
    "all ranks are killed": (faults.kill_all_ranks, 0),
    "preempted": (faults.preempt, 4),
    "requeued by hand": (faults.requeue, 0),
    "a rank hangs": (faults.hang_rank, 15),
    "the node is lost": (faults.fail_node, 25),
    "the link is cut for long": (faults.cut_link, 45),
    "a checkpoint is damaged": (faults.kill_all_ranks, 0),
    "a checkpoint is cut short": (faults.kill_all_ranks, 0),
}
SPOILT = {"a checkpoint is damaged": faults.damage_checkpoint, "a checkpoint is cut short": faults.truncate_checkpoint}
"""What happens to the newest checkpoint right before the ranks are killed."""


@dataclass
class Stories:
    """What came of the launch."""

    project: Project
    key: dict[str, str] = field(default_factory=dict)
    """Of the training that met each fault."""

    def __getitem__(self, name: str) -> History:
        return self.project.history(self.key[name])

    def events(self, name: str, kind: str) -> list[dict[str, object]]:
        return self.project.events(kind)[self.key[name]]


@pytest.fixture(scope="module")
def stories(at_length: None, slurm: SlurmCluster) -> Stories:
    """All faults have happened, and the launch has come to its end."""
    project = Project(slurm, slurm.shared / "faults", OPTIONS)
    project.create(BENCHMARK, "faults")
    project.launch("faults", "--seeds", str(len(FATAL)), "--max-jobs", "1")
    found = Stories(project)
    outlived = iter(OUTLIVED)
    for name in FATAL:
        key, victim = _victim(found)
        found.key[name] = key
        if (harmless := next(outlived, None)) is not None:
            found.key[harmless] = key
            _meet(OUTLIVED[harmless], victim)
        if name in SPOILT:
            SPOILT[name](next(project.store.root.glob(f"unfinished/*/*/{key}")))
        _meet(FATAL[name], victim)
    project.wait(SECONDS)
    slurm.await_nodes()
    return found


def _meet(fault: Fault, victim: Victim) -> None:
    inject, stays = fault
    heal = inject(victim)
    time.sleep(stays)
    heal()


def _victim(found: Stories) -> tuple[str, Victim]:
    """A training that nothing has happened to, once it has a checkpoint."""
    project, end = found.project, time.monotonic() + SECONDS
    while time.monotonic() < end:
        for key, job in project.running().items():
            fresh = key not in found.key.values() and project.trying(key)
            if fresh and len(project.events("saved").get(key, [])) > 1 and project.cluster.ranks(job):
                return key, Victim(project.cluster, job, rank=1)
        time.sleep(0.1)
    raise TimeoutError(project.harness("status", "--all"))


def test_every_row_is_there_and_nothing_was_trained_twice(stories: Stories) -> None:
    assert len(stories.project.rows()) == len(set(stories.key.values()))
    assert {len(events) for events in stories.project.events("done").values()} == {1}
    for stage in stories.project.stages(stories.project.artefacts()):
        stories.project.store.verify(stage)


@pytest.mark.parametrize(
    ("name", "ended", "reason"),
    [
        ("time is up", "stopped", "the machine is taken away soon"),
        ("a rank is killed", "stopped", "asked to end"),  # by srun
        ("cancelled", "stopped", "asked to end"),
        ("all ranks are killed", None, ""),
        ("requeued by hand", "stopped", "asked to end"),
        ("a rank hangs", "failed", "kept this one waiting too long"),
        ("the node is lost", "failed", "another rank has died"),
    ],
)
def test_the_first_attempt_tells_what_ended_it(stories: Stories, name: str, ended: str | None, reason: str) -> None:
    first = stories[name].runs[0]
    assert first.ended == ended
    assert reason in first.reason


@pytest.mark.parametrize("name", FATAL)
def test_the_next_attempt_goes_on_from_a_checkpoint(stories: Stories, name: str) -> None:
    history = stories[name]
    assert history.ended == "done"
    assert history.attempts == 2
    assert history.runs[1].began > 0


@pytest.mark.parametrize("name", [name for name in FATAL if name != "cancelled"])
def test_the_job_goes_back_into_the_queue_under_its_id(stories: Stories, name: str) -> None:
    assert len({run.job for run in stories[name].runs}) == 1


def test_a_cancelled_job_is_followed_by_another(stories: Stories) -> None:
    assert len({run.job for run in stories["cancelled"].runs}) == 2


def test_told_in_time_nothing_is_lost(stories: Stories) -> None:
    useful, made = stories["time is up"].goodput or (0, 1)
    assert useful == made


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_checkpoint_is_passed_over(stories: Stories, name: str) -> None:
    assert stories[name].ended == "done"
    assert len(stories.events(name, "damaged")) == 1


@pytest.mark.parametrize("name", OUTLIVED)
def test_some_faults_end_no_attempt(stories: Stories, name: str) -> None:
    """The first attempt of each training met one of them and lived until the next fault."""
    assert stories[name].attempts == 2


def test_while_the_disk_is_full_training_goes_on_without_checkpoints(stories: Stories) -> None:
    assert stories["the disk is full"].runs[0].reason == "the machine is taken away soon"
    assert stories.events("the disk is full", "unsaved")
