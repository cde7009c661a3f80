"""A training that fails at every attempt is left alone, with all that needs it, and the table is drawn without it."""

from pathlib import Path

import pytest

from tests.cluster.project import Project
from tests.cluster.slurm import SlurmCluster

BENCHMARK = Path(__file__).with_name("giving_up_benchmark.py")
OPTIONS = ("--nodes", "1", "--gpus", "1", "--minutes", "60", "--tries", "2", "--seeds", "1")
REASON = "the loss is"


@pytest.fixture(scope="module")
def project(slurm: SlurmCluster) -> Project:
    """The launch has come to its end."""
    made = Project(slurm, slurm.shared / "giving-up", OPTIONS)
    made.create(BENCHMARK, "giving_up")
    made.launch("giving_up")
    made.wait(300)
    return made


def keys(project: Project) -> dict[str, str]:
    """Of each stage, by `train (hopeless)`."""
    return {planned.title: key for key, planned in project.planned().items()}


def test_two_attempts_and_no_more(project: Project) -> None:
    history = project.history(keys(project)["train (hopeless)"])
    assert history.attempts == 2
    assert history.ended == "failed"
    assert REASON in (history.failure or "")


def test_what_needs_it_was_never_started(project: Project) -> None:
    waiting = [key for title, key in keys(project).items() if "(pruned)" in title or title == "evaluate (hopeless)"]
    assert len(waiting) == 3
    assert [project.history(key).attempts for key in waiting] == [0, 0, 0]


def test_the_table_has_the_other_row(project: Project) -> None:
    (row,) = project.rows().values()
    assert row["entry"] == "sound"


def test_its_job_failed_and_those_behind_it_were_cancelled(project: Project) -> None:
    """None of them waits for ever, and no process is left."""
    states = project.ends()
    trained = project.history(keys(project)["train (hopeless)"]).job
    assert trained is not None
    assert states.pop(trained) == "FAILED"
    assert sorted(states.values()).count("CANCELLED") == 1
    assert set(states.values()) == {"COMPLETED", "CANCELLED"}
    assert not any(project.cluster.ranks(job) for job in (trained, *states))


def test_a_person_who_asks_is_told_what_failed_and_why(project: Project) -> None:
    hopeless = keys(project)["train (hopeless)"][:12]
    status = project.harness("status", "--all")
    assert any(hopeless in line and REASON in line for line in status.splitlines())
    assert f"3 by train (hopeless) {hopeless}, failed" in status
    user = project.harness("why", keys(project)["evaluate (pruned)"])
    assert "is blocked" in user.splitlines()[0]
    assert hopeless in user.splitlines()[0]
    assert REASON in user
