"""Which stages share a job: short ones beside the long ones they belong to, and nothing waits for what comes later."""

import importlib
import itertools
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

import benchmarks
from harness.executors.jobs import BUNDLE, Batch, Task, batches, pack
from harness.plan import Step, inputs_first
from harness.spec import Stage
from tests.executors.toy import KINDS, Derive, Evaluate, Prepare, Score, Toy, Train, plan

DATA = Prepare("data")
DENSE = Train("dense", DATA)


def packed(*stages: Toy) -> list[list[str]]:
    """What runs in each job, in order."""
    return [[step.label for step in task.steps] for task in pack(plan(*stages), {})]


def test_a_network_is_evaluated_in_the_job_that_trained_it() -> None:
    top1 = Evaluate("top1", DENSE, DATA)
    assert packed(DATA, DENSE, top1) == [["data"], ["dense", "top1"]]


def test_a_student_is_formed_in_the_job_of_the_pruned_teacher_it_is_like() -> None:
    sparse = Train("sparse", DENSE, DATA)
    student = Derive("student", sparse)
    small, large = Train("small", student, sparse, DATA), Train("large", student, sparse, DATA)
    assert packed(DATA, DENSE, sparse, student, small, large) == [
        ["data"], ["dense"], ["sparse", "student"], ["small"], ["large"],
    ]  # fmt: skip


def test_what_one_training_begins_with_is_made_in_its_job() -> None:
    ticket = Score("ticket", DATA)
    assert packed(DATA, ticket, Train("sparse", ticket, DATA)) == [["data"], ["ticket", "sparse"]]


def test_what_one_training_begins_with_may_be_made_in_several_steps() -> None:
    ticket = Score("ticket", DATA)
    thin = Derive("thin", ticket)
    assert packed(DATA, ticket, thin, Train("sparse", thin, DATA)) == [["data"], ["ticket", "thin", "sparse"]]


def test_what_several_trainings_begin_with_has_a_job_with_its_like() -> None:
    tickets = [Score(f"ticket {n}", DATA) for n in range(BUNDLE + 1)]
    trainings = [Train(f"{ticket.label}, {lr}", ticket, DATA) for ticket in tickets for lr in (1, 2)]
    first, *jobs = packed(DATA, *tickets, *trainings)
    assert first == ["data"]
    assert [len(job) for job in jobs[:2]] == [BUNDLE, 1], "so many are no longer short"
    assert jobs[2:] == [[training.label] for training in trainings]


def test_what_reads_beginnings_of_several_trainings_comes_after_both() -> None:
    one, other = Score("one", DATA), Score("other", DATA)
    trained = [Train(f"from {ticket.label}", ticket, DATA) for ticket in (one, other)]
    difference = Derive("difference", one, other)
    verdict = Derive("verdict", difference)
    steps = plan(DATA, one, other, difference, verdict, *trained)
    require_order(pack(steps, {}), steps)


def test_what_reads_a_beginning_and_something_done_before_does_not_come_too_early() -> None:
    """The job of what is done before runs before the beginning is there."""
    ticket = Score("ticket")
    compared = Evaluate("compared", ticket, DENSE)
    steps = plan(DATA, DENSE, ticket, compared, Train("sparse", ticket, DATA))
    require_order(pack(steps, {}), steps)


def test_a_stage_on_all_ranks_does_not_run_in_a_job_of_one() -> None:
    pixels = Evaluate("pixels", DATA)
    assert packed(DATA, pixels) == [["data"], ["pixels"]]


def test_a_stage_that_computes_does_not_run_in_a_job_without_a_gpu() -> None:
    tickets = Score("a", DATA), Score("b", DATA)
    assert packed(DATA, *tickets) == [["data"], ["a", "b"]]


def test_what_is_in_the_queue_is_waited_for_by_those_that_read_it() -> None:
    top1 = Evaluate("top1", DENSE, DATA)
    task, other = pack(plan(top1, Train("other", DATA)), {DATA.key: "70", DENSE.key: "71_4"})
    assert not task.after and not other.after
    assert (sorted(task.after_queued), sorted(other.after_queued)) == (["70", "71_4"], ["70"])


def test_jobs_of_one_shape_that_wait_for_the_same_are_an_array() -> None:
    seeds = [Train(f"seed {n}", DATA) for n in range(7)]
    found = batches(pack(plan(DATA, *seeds), {}), largest=3)
    assert [len(batch.tasks) for batch in found] == [1, 3, 3, 1]
    labels = [task.steps[0].label for batch in found for task in batch.tasks]
    assert labels == [stage.label for stage in (DATA, *seeds)]


def test_jobs_of_other_shapes_or_parents_are_no_array() -> None:
    other, narrow = Prepare("other"), Prepare("crops", DATA)
    trained = [Train("a", DATA), Train("b", DATA, other), narrow, Score("c", DATA), Score("d", DATA)]
    found = batches(pack(plan(DATA, other, *trained), {}), largest=100)
    assert [[task.steps[0].label for task in batch.tasks] for batch in found] == [
        ["data", "other"], ["a"], ["b"], ["crops"], ["c"],
    ]  # fmt: skip


BENCHMARKS = sorted(path.stem for path in Path(benchmarks.__path__[0]).glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_stage_of_a_suite_has_one_place_after_what_it_reads(benchmark: str) -> None:
    for suite in importlib.import_module(f"benchmarks.{benchmark}").SUITES.values():
        stages: dict[str, Stage] = {}
        for _, wanted in suite(0).wanted:
            stages |= {stage.key: stage for stage in inputs_first(wanted, stages)}
        steps = [Step(stage, done=False, label=key[:12]) for key, stage in stages.items()]
        tasks = pack(steps, {})
        require_order(tasks, steps)
        require_batches(batches(tasks, largest=7), tasks, largest=7)
        long = sum(not step.stage.short for step in steps)
        assert len(tasks) <= long + 1 + len(steps) // BUNDLE, "short stages have found their places"


def test_every_stage_of_any_plan_has_one_place_after_what_it_reads() -> None:
    for seed in range(400):
        draw = random.Random(seed)
        stages: list[Toy] = []
        for number in range(draw.randint(1, 25)):
            reads = draw.sample(stages, min(len(stages), draw.choice((0, 1, 1, 2, 2, 3))))
            stages.append(draw.choice(KINDS)(f"{seed}.{number}", *reads))
        queued = {stage.key: f"7{place}" for place, stage in enumerate(stages) if draw.random() < 0.15}
        steps = plan(*(stage for stage in stages if stage.key not in queued))
        tasks = pack(steps, queued)
        require_order(tasks, steps, queued)
        largest = draw.choice((1, 2, 1000))
        require_batches(batches(tasks, largest), tasks, largest)


def require_order(tasks: Sequence[Task], steps: Iterable[Step], queued: dict[str, str] | None = None) -> None:
    """Every step is in one task, behind all it reads: there, in a task that this one waits for, or in a queued job."""
    placed = [step.stage.key for task in tasks for step in task.steps]
    assert sorted(placed) == sorted(step.stage.key for step in steps)
    there: list[set[str]] = []  # by task: what is there when it has ended
    for number, task in enumerate(tasks):
        assert task.number == number and all(after < number for after in task.after)
        known = set().union(*(there[after] for after in task.after))
        known |= {key for key, job in (queued or {}).items() if job in task.after_queued}
        for step in task.steps:
            missing = [child for child in step.stage.inputs() if child.key not in known]
            assert not missing, f"{step.label} in task {number} runs before what it reads"
            known.add(step.stage.key)
        there.append(known)


def require_batches(found: Sequence[Batch], tasks: Sequence[Task], largest: int) -> None:
    """Every task is in one batch with others like it, and every batch behind those it waits for."""
    assert sorted(task.number for batch in found for task in batch.tasks) == list(range(len(tasks)))
    before: set[int] = set()
    for batch in found:
        assert len(batch.tasks) <= largest
        assert batch.first.after <= before
        for one, other in itertools.pairwise(batch.tasks):
            assert (one.kind, one.wide, one.computes) == (other.kind, other.wide, other.computes)
            assert (one.after, one.after_queued) == (other.after, other.after_queued)
        before |= {task.number for task in batch.tasks}
