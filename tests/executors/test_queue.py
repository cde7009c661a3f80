"""One look at squeue says which job runs which stage."""

from dataclasses import replace

import pytest

from harness.errors import UserError
from harness.executors import queue
from harness.executors.queue import Queued, ask_queue, cancel, cancel_pending, jobs_by_key, query
from harness.launches import Job
from tests.commands import toy
from tests.executors.stand_in import StandIn

ARRAY = Job(name="harness-train-0a1b2c3d.1", tasks=(("k0", "k1"), ("k2",)), array=True)
ALONE = Job(name="harness-prepare-0a1b2c3d.0", tasks=(("data",),), array=False)
TABLE = Job(name="harness-table-0a1b2c3d.2", tasks=(), array=False)
LAUNCH = toy.launch(jobs=(ALONE, ARRAY, TABLE))


def queued(job: str, name: str, state: str = "PENDING") -> Queued:
    return Queued(job, name, state, nodes=4, reason="Priority", user="ana")


def test_jobs_of_ours_are_told_from_all_others(site: StandIn) -> None:
    (site.folder / "queue").write_text(
        "12|harness-prepare-0a1b2c3d.0|RUNNING|1|None|ana\n"
        "13_1|harness-train-0a1b2c3d.1|PENDING|4|Dependency|bo\n"
        "14|bash|RUNNING|1|None|ana\n"
    )
    assert ask_queue() == [
        Queued("12", ALONE.name, "RUNNING", 1, "None", "ana"),
        Queued("13_1", ARRAY.name, "PENDING", 4, "Dependency", "bo"),
    ]


def test_an_odd_name_of_somebody_elses_job_is_no_trouble(site: StandIn) -> None:
    (site.folder / "queue").write_text("15|a|b|RUNNING|1|None|bo\n16|harness-x|RUNNING|1|None|bo\n")
    assert [job.job for job in ask_queue()] == ["16"]


def test_a_task_of_an_array_runs_its_own_stages() -> None:
    found = jobs_by_key([LAUNCH], [queued("12", ALONE.name), queued("13_0", ARRAY.name), queued("13_1", ARRAY.name)])
    assert {key: job.job for key, job in found.items()} == {"data": "12", "k0": "13_0", "k1": "13_0", "k2": "13_1"}


def test_jobs_without_stages_or_of_another_store_run_none() -> None:
    assert jobs_by_key([LAUNCH], [queued("14", TABLE.name), queued("15", "harness-train-ffffffff.1")]) == {}


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_jobs_of_a_stage_the_one_that_runs_counts(order: int) -> None:
    again = replace(LAUNCH, id="ffff0000", jobs=(replace(ALONE, name="harness-prepare-ffff0000.0"),))
    jobs = [queued("12", ALONE.name), queued("20", "harness-prepare-ffff0000.0", "RUNNING")]
    assert jobs_by_key([LAUNCH, again], jobs[::order])["data"].job == "20"


def test_a_queue_that_does_not_answer_is_said_in_its_own_words(site: StandIn) -> None:
    site.replace("squeue", "#!/bin/sh\necho trouble >&2; echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1\n")
    with pytest.raises(UserError, match=r"^squeue failed: slurm_load_jobs error: Unable to contact$"):
        ask_queue()
    (site.folder / "squeue").unlink()
    with pytest.raises(UserError, match=r"^no-such-command does not answer: "):
        query("no-such-command")


def test_waiting_jobs_are_cancelled_so_many_at_a_time(site: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "CANCEL_AT_ONCE", 3)
    cancel_pending(["14", "11", "12", "13"])
    first, second = (call.split() for call in site.calls("scancel"))
    assert first[0] == second[0] == "--state=PENDING", "what has started meanwhile goes on"
    assert (first[1:], second[1:]) == (["11", "12", "13"], ["14"])
    cancel(["15", "15"])
    assert site.calls("scancel")[2:] == ["15"]
