"""What a person is told of every stage, from the store, its journals and the queue."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.executors.queue import Queued
from harness.launches import Job
from harness.lease import hold
from harness.overview import StageState, ancestors, dependants, find_key, holder, planned_stages, survey, with_jobs
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


def test_what_a_launch_has_given_up_has_failed_and_blocks(store: Store) -> None:
    toy.finish(store, "data")
    again = {**start("7"), "attempt": "7.1"}
    toy.tell(store, "dense", start("7"), failed("no space"), again, toy.gave_up("no space"))
    for known in (True, False):
        found = told(store, known=known)
        assert found["dense"] == ("failed", "no space")
        assert found["sparse"] == ("blocked", f"train (dense) {key('dense')[:12]} failed: no space")


@pytest.mark.parametrize("end", [failed("a node is gone"), {"event": "stopped", "reason": "preempted"}])
def test_an_attempt_that_ended_in_a_job_that_runs_again_is_not_the_last(store: Store, end: dict[str, object]) -> None:
    toy.finish(store, "data")
    toy.tell(store, "dense", start("7"), end)
    job = queued("dense", "RUNNING", "None")
    found = told(store, job, queued("sparse", reason="Dependency", job="8"))
    assert found["dense"] == ("requeued", "starts again in its running job")
    assert found["sparse"] == ("queued", "Dependency")
    toy.tell(store, "dense", start("7"))
    assert told(store, job)["dense"] == ("running", "")


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
    toy.tell(store, "dense", {"event": "stopped", "reason": "time limit"})
    assert told(store)["dense"] == ("missing", "stopped: time limit")
    toy.tell(store, "dense", start("8"), {"event": "done", "stage": "train", "seconds": 1.0})
    assert told(store)["dense"] == ("missing", "was done, but is no longer in the store")


def test_without_a_queue_nothing_is_claimed_that_it_may_deny(store: Store) -> None:
    toy.finish(store, "data")
    toy.tell(store, "dense", start("7"), epoch(3, 100))
    assert told(store, known=False)["dense"] == ("unknown", "died without a word in job 7 on node7")
    with hold(store.root / "leases" / key("dense"), "it"):
        assert told(store, known=False)["dense"] == ("running", "")
    toy.tell(store, "dense", failed("a node is gone"))
    found = told(store, known=False)
    assert found["dense"] == ("failed", "a node is gone")
    assert found["sparse"] == ("unknown", ""), "the failure may be on its second try"
    assert told(store)["sparse"][0] == "blocked"


def test_outside_slurm_a_stage_runs_as_long_as_its_process(store: Store) -> None:
    toy.tell(store, "data", start(None, ranks=1))
    with hold(store.root / "leases" / key("data"), "it"):
        assert told(store)["data"] == ("running", "")
        assert states(store)["data"].moved is not None
        owner = holder(store, key("data"))
        assert owner is not None and owner.job is None
    assert told(store)["data"] == ("missing", "died without a word on node7")


def test_launches_of_which_nothing_is_left_in_the_queue_are_put_aside() -> None:
    typed = toy.launch()
    job = Job(name="harness-train-feedbeef.0", tasks=((key("dense"),),), array=False)
    follower = replace(typed, id="feedbeef", stages={}, jobs=(job,))
    older, newer = (replace(toy.launch(jobs=()), id=id_, origin=id_) for id_ in ("11111111", "22222222"))
    launches = [newer, follower, typed, older]
    again = Queued("9", job.name, "PENDING", 4, "Priority", toy.USER)
    assert with_jobs(launches, [again]) == [follower, typed]
    assert list(planned_stages([follower, typed])) == list(toy.planned())
    assert with_jobs(launches, []) == [newer]
    assert with_jobs(launches, None) == launches
    assert with_jobs([], []) == []


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
