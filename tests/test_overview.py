"""What a person is told of every stage, from the store, its journals and the queue."""

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.executors.queue import Queued
from harness.launches import Job
from harness.overview import StageState, ancestors, dependants, find_key, planned_stages, survey
from harness.store import Store
from tests.commands import toy
from tests.commands.toy import epoch, failed, key, start


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def queued(name: str, state: str = "PENDING", reason: str = "Priority", job: str = "7") -> Queued:
    return Queued(job, toy.job_name(name), state, 4, reason, toy.USER)


def states(store: Store, *queue: Queued, known: bool = True) -> dict[str, StageState]:
    """By the plan's names."""
    found = survey(store, [toy.launch()], queue if known else None)
    assert list(found) == list(toy.planned())
    return {name: found[key(name)] for name in toy.PLAN}


def told(store: Store, *queue: Queued, known: bool = True) -> dict[str, tuple[str, str]]:
    return {name: (state.state, state.because) for name, state in states(store, *queue, known=known).items()}


def test_a_launch_in_the_middle(store: Store) -> None:
    toy.finish(store, "data")
    toy.tell(store, "dense", start("7"), epoch(3, 100))
    found = states(store, queued("dense", "RUNNING", "None"), queued("sparse", reason="Dependency", job="8"))
    assert [state.state for state in found.values()] == ["done", "running", "queued", "missing", "missing", "missing"]
    assert found["sparse"].because == "Dependency"
    assert found["dense"].nodes == 4 and found["dense"].history is not None
    assert found["data"].history is None, "nobody reads the journals of what is done"


def test_a_failure_blocks_all_that_need_it_and_nothing_else(store: Store) -> None:
    toy.finish(store, "data", "dense")
    toy.tell(store, "sparse", start("8"), failed("the loss\nis nan"))
    found = states(store, queued("student_top1", reason="DependencyNeverSatisfied"))
    assert (found["sparse"].state, found["sparse"].because) == ("failed", "the loss is nan")
    for name in ("student", "student_top1"):
        assert (found[name].state, found[name].blocker) == ("blocked", key("sparse"))
        assert found[name].because == f"prune (sparse teacher) {key('sparse')[:12]} failed: the loss is nan"
    assert found["dense_top1"].state == "missing"


def test_what_failed_and_is_tried_again_blocks_nobody(store: Store) -> None:
    toy.finish(store, "data")
    toy.tell(store, "dense", start("7"), failed("a node is gone"))
    found = told(store, queued("dense", reason="BeginTime"), queued("sparse", reason="Dependency", job="8"))
    assert found["dense"] == ("requeued", "BeginTime")
    assert found["sparse"] == ("queued", "Dependency")


def test_what_a_person_cancelled_blocks_until_it_is_launched_again(store: Store) -> None:
    toy.finish(store, "data")
    toy.tell(store, "dense", start("7"), {"event": "cancelled", "user": "ada"})
    found = told(store)
    assert found["dense"] == ("cancelled", "cancelled by ada")
    assert found["sparse"] == ("blocked", f"train (dense) {key('dense')[:12]} cancelled by ada")
    assert told(store, queued("dense"))["dense"] == ("requeued", "Priority")


def test_stages_of_one_job_run_in_turn(store: Store) -> None:
    toy.finish(store, "data")
    toy.tell(store, "dense", start("9_1"), epoch(3, 100))
    job = Job(name="harness-both", tasks=((key("data"),), (key("dense"), key("dense_top1"))), array=True)
    queue = [Queued("9_1", "harness-both", "RUNNING", 4, "None", toy.USER)]
    found = survey(store, [toy.launch(jobs=(job,))], queue)
    assert found[key("dense")].state == "running"
    assert found[key("dense_top1")].state == "queued"
    assert found[key("dense_top1")].because == "waits for its turn in a running job"


def test_what_nobody_runs_any_more_is_missing_and_says_how_it_ended(store: Store) -> None:
    toy.finish(store, "data")
    toy.tell(store, "dense", start("7"), epoch(3, 100))
    assert told(store)["dense"] == ("missing", "died without a word in job 7 on node7")
    assert told(store, known=False)["dense"] == ("running", ""), "without a queue nobody knows"
    toy.tell(store, "dense", {"event": "stopped", "reason": "time limit"})
    assert told(store)["dense"] == ("missing", "stopped: time limit")


def test_without_slurm_a_stage_runs_here(store: Store) -> None:
    toy.tell(store, "data", start(None, ranks=1))
    assert told(store, known=False)["data"] == ("running", "")


def test_a_key_is_found_by_its_start() -> None:
    stages = planned_stages([toy.launch()])
    assert find_key(key("sparse")[:4], stages) == key("sparse")
    twins = {f"abcd{n}" + 59 * "0": stages[key("data")] for n in range(2)}
    with pytest.raises(UserError, match=r"abcd starts the keys of 2 stages: abcd00000000 prepare \(dense\), abcd1"):
        find_key("abcd", twins)
    with pytest.raises(UserError, match="no stage of any launch has a key that starts with abcd"):
        find_key("abcd", stages)
    for odd in ("abc", "ABCD", "../x"):
        with pytest.raises(UserError, match="is not the start of a key"):
            find_key(odd, stages)


def test_who_needs_whom() -> None:
    stages = toy.planned()
    assert ancestors(key("student"), stages) == [key("data"), key("dense"), key("sparse")]
    assert dependants({key("sparse")}, stages) == [key("student"), key("student_top1")]
