"""A launch typed again with more nodes: what runs is left alone, everything that waits runs on more nodes."""

from pathlib import Path

import pytest

from harness.history import History
from tests.cluster.faults import Victim, tell_time_is_up
from tests.cluster.project import Project, until
from tests.cluster.slurm import SlurmCluster

BENCHMARK = Path(__file__).with_name("faults_benchmark.py")
OPTIONS = ("--gpus", "1", "--minutes", "60", "--patience", "10", "--checkpoint-minutes", "0.01", "--seeds", "3")


@pytest.fixture(scope="module")
def project(slurm: SlurmCluster) -> Project:
    """Three trainings on one node, one at a time. One is stopped, then the launch is typed again for two nodes."""
    made = Project(slurm, slurm.shared / "elastic", OPTIONS)
    made.create(BENCHMARK, "elastic")
    made.launch("elastic", "--nodes", "1", "--max-jobs", "1")
    until(lambda: any(made.events("saved").values()))
    (first,) = started(made)
    tell_time_is_up(Victim(made.cluster, made.running()[first]))
    until(lambda: len(started(made)) == 2)
    assert made.history(first).ended == "stopped"
    made.launch("elastic", "--nodes", "2", "--max-jobs", "2")
    made.wait(300)
    return made


def started(project: Project) -> list[str]:
    """Keys of the trainings that have begun, the first first."""
    events = {key: found for key, found in project.events("start").items() if found and found[0]["stage"] == "train"}
    return sorted(events, key=lambda key: float(events[key][0]["time"]))


def trainings(project: Project) -> list[History]:
    return [project.history(key) for key in started(project)]


def test_what_ran_when_the_launch_was_typed_again_ran_on(project: Project) -> None:
    _, running, _ = trainings(project)
    assert [run.ranks for run in running.runs] == [1]
    assert running.ended == "done"


def test_what_had_stopped_goes_on_from_its_checkpoint_on_two_nodes(project: Project) -> None:
    stopped, _, _ = trainings(project)
    assert [run.ranks for run in stopped.runs] == [1, 2]
    assert [run.ended for run in stopped.runs] == ["stopped", "done"]
    before, after = stopped.runs
    assert after.job != before.job
    assert after.began == before.reached


def test_what_had_not_begun_has_two_nodes_from_the_start(project: Project) -> None:
    _, _, waiting = trainings(project)
    assert [run.ranks for run in waiting.runs] == [2]


def test_the_table_has_every_row(project: Project) -> None:
    assert len(project.rows()) == 3
    assert {len(events) for events in project.events("done").values()} == {1}
