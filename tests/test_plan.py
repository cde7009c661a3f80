"""A plan: every stage once, inputs before users, what is there already recognised."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from harness.benchmark import find_suite
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.kd import KD
from harness.models.vgg import VGG
from harness.plan import Step, count_trainings, inputs_first, make_plan, render
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import lr_rewinding
from harness.stages.student import Student
from harness.stages.teacher_outputs import outputs_for
from harness.stages.train import Train
from harness.store import Store

ROOT = Path(__file__).parents[1]
DATA = Prepare(source=Digits())
RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=32))
NETWORK = VGG(blocks=((4,),), classes=10)
DENSE = Train(network=NETWORK, data=DATA, recipe=RECIPE)


def digits_plan(store: Store) -> list[Step]:
    return make_plan(find_suite("digits", None)[1].wanted, store)


def test_inputs_come_first_and_shared_stages_once(tmp_path: Path) -> None:
    steps = digits_plan(Store(tmp_path))
    keys = [step.stage.key for step in steps]
    assert len(keys) == len(set(keys))
    for place, step in enumerate(steps):
        assert {child.key for child in step.stage.inputs()} <= set(keys[:place])
    names = [step.stage.name for step in steps]
    assert names.count("prepare") == 1
    assert names.count("prune") == 4, "the rounds to 59 % contain those to 36 %"


def test_a_published_stage_is_had(tmp_path: Path) -> None:
    store = Store(tmp_path)
    prepare = digits_plan(store)[0].stage
    with store.aside(prepare) as folder:
        (folder / "data.json").write_text("{}")
        store.publish(prepare, folder, {"images": {"train": 1437}}, {})
    steps = digits_plan(store)
    assert [step.done for step in steps] == [True] + [False] * (len(steps) - 1)
    assert f"{len(steps)} stages: 1 have, {len(steps) - 1} to run" in render(steps, nodes=1, gpus=1)


def test_a_dry_run_needs_neither_slurm_nor_torch_nor_data(tmp_path: Path) -> None:
    """Only the standard library is importable here: -S and -I hide every installed package."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "launch/imagenet.py", "--nodes", "4", "--dry-run", "--store", f"{tmp_path}/no"],
        cwd=ROOT, env={"PATH": "/nowhere"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 5
    suite = find_suite("imagenet", "full")[1]
    for step in make_plan(suite.wanted, Store(tmp_path)):
        (line,) = [line for line in done.stdout.splitlines() if step.stage.key[:12] in line.split()[1:2]]
        assert " run " in line
        assert ("4 x 8" if step.stage.ranks == "all" else "1 x 1") in line
        assert all(child.key[:6] in line for child in step.stage.inputs())
    assert done.stdout.splitlines()[-1].startswith("every entry by itself would take ")
    assert not (tmp_path / "no").exists(), "a dry run writes nothing"


def test_what_a_stage_nests_comes_first_less_what_was_seen() -> None:
    chain = lr_rewinding(DENSE, rounds=3, criterion=Magnitude(), data=DATA, recipe=RECIPE)
    assert inputs_first(chain[-1]) == [DATA, DENSE, *chain]
    assert inputs_first(chain[-1], {stage.key for stage in (DATA, DENSE, chain[0])}) == chain[1:]


def evaluated(network: Stage, split: Literal["train", "val"] = "val") -> Stage:
    return Evaluate(network=network, data=DATA, size=32, split=split)


def test_a_teacher_that_two_students_share_is_trained_once() -> None:
    """Teacher, what it says, and two students; by itself the teacher is 1 training, each student 3."""
    outputs = outputs_for(RECIPE, teacher=DENSE, classes=10, data=DATA)
    students = [
        Distill(student=NETWORK, teacher=outputs, method=KD(temperature=t), data=DATA, recipe=RECIPE)
        for t in (1.0, 4.0)
    ]
    assert count_trainings([evaluated(network)] for network in (DENSE, *students)) == (4, 7)


def test_a_formed_student_rests_on_its_pruned_teacher_and_reading_it_off_is_no_training() -> None:
    pruned = lr_rewinding(DENSE, rounds=2, criterion=Magnitude(), data=DATA, recipe=RECIPE)[-1]
    formed = Train(network=Student(like=pruned), data=DATA, recipe=RECIPE)
    assert count_trainings([[evaluated(pruned)], [evaluated(formed)]]) == (4, 3 + 4)


def test_a_second_look_at_the_same_network_is_no_second_training() -> None:
    assert count_trainings([[evaluated(DENSE), evaluated(DENSE, "train")]]) == (1, 1)
