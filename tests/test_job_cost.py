"""What the jobs of a plan hold: as they would be submitted, with all that a job keeps waiting."""

from pathlib import Path

import pytest

from harness.benchmark import find_suite
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.estimate import Estimate
from harness.executors.jobs import pack
from harness.job_cost import START_S, JobCost, job_costs
from harness.models.vgg import VGG
from harness.plan import Step, make_plan
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune_early import PruneEarly
from harness.stages.train import Train
from harness.store import Store

DATA = Prepare(source=Digits())
AUGMENT = Augment(crop="none", size=32)
EARLY = PruneEarly(
    network=VGG(blocks=((4,),), classes=10), criterion=Magnitude(), sparsity=0.5, data=DATA, augment=AUGMENT
)
TRAIN = Train(network=EARLY, data=DATA, recipe=Recipe(epochs=1, augment=AUGMENT))
EVALUATE = Evaluate(network=TRAIN, data=DATA, size=32)
FOUND = {
    DATA.key: Estimate(1800, "modelled"),
    EARLY.key: Estimate(600, "modelled"),
    TRAIN.key: Estimate(1600, "modelled"),
    EVALUATE.key: Estimate(160, "modelled"),
}


def costs(*stages: Stage, nodes: int = 2, gpu: bool = True, executor: str = "slurm") -> list[JobCost]:
    steps = [Step(stage, False, "entry") for stage in stages]
    return job_costs(steps, FOUND, nodes=nodes, gpus=8, gpu=gpu, executor=executor)


def test_short_stages_are_in_the_job_of_the_training_and_hold_all_that_it_holds() -> None:
    _, training = costs(DATA, EARLY, TRAIN, EVALUATE)
    assert [step.stage for step in training.steps] == [EARLY, TRAIN, EVALUATE]
    assert training.gpus == 16
    assert training.seconds == {EARLY.key: START_S + 600, TRAIN.key: 100, EVALUATE.key: 10}
    assert training.hours[EARLY.key] == pytest.approx(660 * 16 / 3600), "sixteen wait for the one that scores"
    assert training.main.stage == TRAIN
    assert (training.task.seconds, training.task.gpus) == (770, 16)
    assert training.task.title == "train (entry)"


def test_a_job_waits_for_those_that_make_what_it_reads() -> None:
    prepare, training = costs(DATA, EARLY, TRAIN)
    assert prepare.inputs == ()
    assert training.inputs == (prepare.key,)
    assert training.key == EARLY.key, "its first stage"


def test_a_job_of_one_rank_holds_one_gpu_and_one_that_computes_nothing_holds_none() -> None:
    assert [job.gpus for job in costs(DATA, EARLY)] == [0, 1]
    assert [job.gpus for job in costs(DATA, EARLY, gpu=False)] == [1, 1], "a core is held in any case"


def test_one_process_group_is_one_job() -> None:
    (job,) = costs(DATA, EARLY, TRAIN, nodes=1, executor="local")
    assert (job.gpus, job.task.seconds) == (8, START_S + 1800 + 600 + 200)


def test_what_has_no_estimate_counts_for_nothing() -> None:
    other = Train(network=EARLY, data=DATA, recipe=TRAIN.recipe, seed=1)
    (job,) = costs(other)
    assert (job.seconds, job.hours, job.task.seconds) == ({}, {}, 0)


def test_the_jobs_of_a_real_plan_are_those_that_are_submitted_inputs_first(tmp_path: Path) -> None:
    plan = make_plan(find_suite("imagenet", "full")[1].wanted, Store(tmp_path))
    jobs = job_costs(plan, {}, nodes=4, gpus=8, gpu=True, executor="slurm")
    packed = {tuple(step.stage.key for step in task.steps) for task in pack(plan, {})}
    assert {tuple(step.stage.key for step in job.steps) for job in jobs} == packed
    place = {job.key: number for number, job in enumerate(jobs)}
    assert all(place[key] < place[job.key] for job in jobs for key in job.inputs)
    assert any(job.inputs for job in jobs)
