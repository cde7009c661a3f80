"""What a person reads of the cost before anything is spent."""

import math
import re
from dataclasses import replace
from pathlib import Path

from harness.benchmark import find_suite
from harness.budget import LONGEST_LIST, assumed_device, render_cost, span
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.estimate import Estimate, estimates
from harness.job_cost import job_costs
from harness.models.vgg import VGG
from harness.plan import Step, make_plan
from harness.recipe import Recipe
from harness.simulation import simulate
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import lr_rewinding
from harness.stages.train import Train
from harness.store import Store
from tests.test_scale import clock, wanted

DATA = Prepare(source=Digits())
RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=32))
DENSE = Train(network=VGG(blocks=((4,),), classes=10), data=DATA, recipe=RECIPE)
(PRUNED,) = lr_rewinding(DENSE, rounds=1, criterion=Magnitude(), data=DATA, recipe=RECIPE)
EVALUATE = Evaluate(network=PRUNED, data=DATA, size=32)
HOUR = 3600.0
FOUND = {
    DATA.key: Estimate(HOUR, "modelled"),
    DENSE.key: Estimate(32 * HOUR, "measured"),
    PRUNED.key: Estimate(16 * HOUR, "scaled"),
}


def steps(*stages: Prepare | Train | Evaluate | object, done: bool = False) -> list[Step]:
    return [Step(stage, done, "pruned") for stage in stages]  # type: ignore[arg-type]


def cost(plan: list[Step], found: dict[str, Estimate] = FOUND, *, gpu: bool = True, executor: str = "slurm") -> str:
    return render_cost(plan, found, [[DENSE], [PRUNED]], nodes=2, gpus=8, gpu=gpu, executor=executor)


def test_a_small_plan_has_a_line_for_every_missing_stage_and_names_its_source() -> None:
    lines = cost(steps(DATA, DENSE, PRUNED)).splitlines()
    assert lines[0] == assumed_device(True) == "assumed device: GPU"
    assert re.match(rf"prepare +{DATA.key[:12]} +0.00 +1 h 1 min  modelled +pruned", lines[2]), "it needs no GPU"
    assert re.match(rf"train +{DENSE.key[:12]} +32.27 +2 h 1 min  measured +pruned", lines[3])
    assert lines[5] == "3 stages to run in 3 jobs: 48.5 GPU-hours; 65 % measured, 33 % scaled, 2 % modelled"
    assert lines[7].startswith("assumed: 60 s for a job to start")
    assert DENSE.key[:12] not in cost([*steps(DENSE, done=True), *steps(PRUNED)])


def test_the_whole_launch_is_told_too() -> None:
    """Preparing, training and pruning follow each other: 4 h and three starts; two seeds need not."""
    chain = cost(steps(DATA, DENSE, PRUNED))
    assert "done after 4 h 3 min on 2 x 8 GPUs alone; the longest chain of jobs takes 4 h 3 min on any number" in chain
    other = replace(DENSE, seed=1)
    both = cost(steps(DATA, DENSE, other), FOUND | {other.key: FOUND[DENSE.key]})
    assert "done after 5 h 3 min on 2 x 8 GPUs alone; the longest chain of jobs takes 3 h 2 min on any number" in both


def test_on_this_machine_one_job_does_everything_in_a_row() -> None:
    lines = cost(steps(DATA, DENSE, PRUNED), gpu=False, executor="local").splitlines()
    assert lines[5].startswith("3 stages to run in 1 job: 64.3 core-hours"), "all 16 ranks wait while one prepares"
    assert "done after 4 h 1 min on 2 x 8 CPU cores alone; the longest chain of jobs takes 4 h 1 min" in lines[6]


def test_sharing_saves_the_teacher_that_both_entries_need() -> None:
    """By itself the second entry would train the teacher, 32.27 hours, again."""
    assert cost(steps(DATA, DENSE, PRUNED)).splitlines()[-1] == (
        "every entry by itself would take 80.8 GPU-hours: sharing saves 32.3 GPU-hours"
    )


def test_a_large_plan_has_a_line_for_every_kind_of_stage() -> None:
    rounds = [replace(PRUNED, seed=seed) for seed in range(LONGEST_LIST)]
    found = FOUND | {stage.key: Estimate(16 * HOUR, "scaled") for stage in rounds[1:]}
    lines = cost(steps(DATA, DENSE, *rounds), found).splitlines()
    assert len(lines) == 1 + 1 + 3 + 4
    assert re.match(r"prune +60 +976.00 +1 h 1 min  scaled", lines[4])


def test_stages_without_an_estimate_are_told() -> None:
    assert "1 more without an estimate" in cost(steps(DENSE, EVALUATE))
    assert "without an estimate" not in cost(steps(DENSE))


def test_a_finished_plan_costs_nothing() -> None:
    assert cost(steps(DENSE, done=True)) == "nothing to run: no cost"


def test_cores_are_not_called_gpus() -> None:
    text = cost(steps(DENSE), gpu=False)
    assert "core-hours" in text
    assert text.startswith("assumed device: CPU core; no GPU is here")
    assert "GPU" not in text.partition("\n")[2]


def test_times_are_told_in_two_units_at_most() -> None:
    assert [span(seconds) for seconds in (0, 59.4, 59.6, 3600, 86_399, 100_000)] == [
        "0 s", "59 s", "1 min", "1 h 0 min", "1 d 0 h", "1 d 4 h",
    ]  # fmt: skip


def test_a_real_plan_can_be_drawn_with_nothing_known(tmp_path: Path) -> None:
    suite = find_suite("digits", None)[1]
    plan = make_plan(suite.wanted, Store(tmp_path))
    entries = [entry.stages for entry in suite.entries]
    text = render_cost(plan, {}, entries, nodes=1, gpus=1, gpu=False, executor="slurm")
    assert f"{len(plan)} more without an estimate" in text
    assert "done after 0 s" in text


def test_ten_thousand_stages_are_estimated_and_drawn_and_their_queue_played_through(tmp_path: Path) -> None:
    """Processor time, three times over what it takes."""
    store, results = Store(tmp_path / "store"), tmp_path / "results"

    def told(stages: int) -> float:
        plan = make_plan(wanted(stages), store)
        entries = [[step.stage] for step in plan]
        with clock(f"the cost of {stages:,} stages") as read:
            found = estimates(plan, "digits", store, results, gpu=True)
            text = render_cost(plan, found, entries, nodes=4, gpus=8, gpu=True, executor="slurm")
            jobs = job_costs(plan, found, nodes=4, gpus=8, gpu=True, executor="slurm")
            went = simulate([job.task for job in jobs], 64 * 8)
        assert f"{stages + 1} stages to run in {len(jobs)} jobs" in text
        assert 0 < went.lower_bound <= went.makespan
        return read.seconds

    told(100)  # what is imported and counted once
    few, many = told(1_000), told(10_000)
    assert math.log(many / few) / math.log(10) <= 1.3
    assert many <= 3 * 2
