"""A job's time limit comes near, or strikes: by Slurm itself, not by a signal of ours. `make chaos` runs this.

Two trainings are hit. One hears of its limit a minute ahead. For the other there is no time left to heed the signal:
Slurm does not put such a job back into the queue.
"""

from pathlib import Path

import pytest

from tests.cluster import faults
from tests.cluster.faults import Victim
from tests.cluster.project import Project, until
from tests.cluster.slurm import SlurmCluster

BENCHMARK = Path(__file__).with_name("faults_benchmark.py")
OPTIONS = ("--nodes", "1", "--gpus", "1", "--minutes", "60", "--checkpoint-minutes", "0.01")
HEARD_S, STRUCK_S, SECONDS = 60, 150, 300


@pytest.fixture(scope="module")
def project(at_length: None, slurm: SlurmCluster) -> Project:
    """Both have met their limit, and the launch has come to its end."""
    made = Project(slurm, slurm.shared / "time-limit", OPTIONS)
    made.create(BENCHMARK, "time_limit")
    made.launch("time_limit", "--suite", "long", "--seeds", "2")
    until(lambda: [len(made.events("saved").get(key, [])) > 1 for key in trainings(made)] == [True, True], SECONDS)
    heard, struck = (Victim(slurm, str(made.history(key).job)) for key in trainings(made))
    faults.end_time(struck)
    forget = faults.time_out(heard)
    until(lambda: made.history(trainings(made)[0]).ended == "stopped", HEARD_S)
    forget()
    until(lambda: made.ends()[struck.job] not in ("RUNNING", "COMPLETING"), STRUCK_S)
    made.wait(SECONDS)
    return made


def trainings(project: Project) -> list[str]:
    return sorted(key for key, planned in project.planned().items() if planned.stage == "train")


def test_told_of_its_limit_a_training_saves_and_goes_on_in_the_same_job(project: Project) -> None:
    heard = project.history(trainings(project)[0])
    assert [(run.ended, run.reason) for run in heard.runs] == [
        ("stopped", "the machine is taken away soon"),
        ("done", ""),
    ]
    assert len({run.job for run in heard.runs}) == 1
    useful, made = heard.goodput or (0, 1)
    assert useful == made, "nothing is trained twice"


def test_struck_by_its_limit_a_training_goes_on_in_another_job(project: Project) -> None:
    """The last job of the launch starts it again, from its checkpoint."""
    struck = project.history(trainings(project)[1])
    first, second = struck.runs
    assert second.ended == "done"
    assert project.ends()[str(first.job)] == "TIMEOUT"
    assert second.job != first.job
    assert second.began > 0


def test_the_table_has_both_rows(project: Project) -> None:
    assert len(project.rows()) == 2
    assert {len(events) for events in project.events("done").values()} == {1}
