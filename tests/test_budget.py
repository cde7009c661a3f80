"""What a person reads of the cost before anything is spent."""

import re
from dataclasses import replace
from pathlib import Path

from harness.benchmark import find_suite
from harness.budget import LONGEST_LIST, render_cost, span
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.estimate import Estimate, device_hours, wall_seconds
from harness.models.vgg import VGG
from harness.plan import Step, make_plan
from harness.recipe import Recipe
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import lr_rewinding
from harness.stages.train import Train
from harness.store import Store

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


def cost(plan: list[Step], found: dict[str, Estimate] = FOUND, *, gpu: bool = True) -> str:
    return render_cost(plan, found, [[DENSE], [PRUNED]], nodes=2, gpus=8, gpu=gpu)


def test_a_training_is_shared_out_over_the_ranks_and_preparing_is_not() -> None:
    assert wall_seconds(DENSE, FOUND[DENSE.key], 16) == 2 * HOUR + 60
    assert wall_seconds(DATA, FOUND[DATA.key], 16) == HOUR + 60
    assert device_hours(DENSE, FOUND[DENSE.key], 16) == 32 + 16 * 60 / HOUR, "every rank waits for the job to start"
    assert wall_seconds(EVALUATE, Estimate(160, "scaled"), 16) == 10, "it runs in the job of what it evaluates"


def test_a_small_plan_has_a_line_for_every_missing_stage_and_names_its_source() -> None:
    lines = cost(steps(DATA, DENSE, PRUNED)).splitlines()
    assert re.match(rf"train +{DENSE.key[:12]} +32.27 +2 h 1 min  measured +pruned", lines[2])
    assert lines[4] == "3 stages to run: 49.5 GPU-hours; 65 % measured, 33 % scaled, 2 % modelled"
    assert lines[5].startswith("assumed: 60 s for a job to start")
    assert DENSE.key[:12] not in cost([*steps(DENSE, done=True), *steps(PRUNED)])


def test_sharing_saves_the_teacher_that_both_entries_need() -> None:
    """By itself the second entry would train the teacher, 32.27 hours, and prepare the images, 1.02, again."""
    assert cost(steps(DATA, DENSE, PRUNED)).splitlines()[-1] == (
        "every entry by itself would take 82.8 GPU-hours: sharing saves 33.3 GPU-hours"
    )


def test_a_large_plan_has_a_line_for_every_kind_of_stage() -> None:
    rounds = [replace(PRUNED, seed=seed) for seed in range(LONGEST_LIST)]
    found = FOUND | {stage.key: Estimate(16 * HOUR, "scaled") for stage in rounds[1:]}
    lines = cost(steps(DATA, DENSE, *rounds), found).splitlines()
    assert len(lines) == 1 + 3 + 3
    assert re.match(r"prune +60 +976.00 +1 h 1 min  scaled", lines[3])


def test_stages_without_an_estimate_are_told() -> None:
    assert "1 more without an estimate" in cost(steps(DENSE, EVALUATE))
    assert "without an estimate" not in cost(steps(DENSE))


def test_a_finished_plan_costs_nothing() -> None:
    assert cost(steps(DENSE, done=True)) == "nothing to run: no cost"


def test_cores_are_not_called_gpus() -> None:
    text = cost(steps(DENSE), gpu=False)
    assert "core-hours" in text
    assert "GPU" not in text


def test_times_are_told_in_two_units_at_most() -> None:
    assert [span(seconds) for seconds in (0, 59.4, 59.6, 3600, 86_399, 100_000)] == [
        "0 s", "59 s", "1 min", "1 h 0 min", "1 d 0 h", "1 d 4 h",
    ]  # fmt: skip


def test_a_real_plan_can_be_drawn_with_nothing_known(tmp_path: Path) -> None:
    suite = find_suite("digits", None)[1]
    plan = make_plan(suite.wanted, Store(tmp_path))
    text = render_cost(plan, {}, [entry.stages for entry in suite.entries], nodes=1, gpus=1, gpu=False)
    assert f"{len(plan)} more without an estimate" in text
