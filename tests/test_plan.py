"""A plan: every stage once, inputs before users, what is there already recognised."""

import subprocess
import sys
import time
from pathlib import Path

from harness.benchmark import find_suite
from harness.plan import Step, make_plan, render
from harness.store import Store

ROOT = Path(__file__).parents[1]


def digits_plan(store: Store) -> list[Step]:
    return make_plan(((e.name, e.evaluate) for e in find_suite("digits", None)[1].entries), store)


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
    entries = find_suite("imagenet", "full")[1].entries
    for step in make_plan(((e.name, e.evaluate) for e in entries), Store(tmp_path)):
        (line,) = [line for line in done.stdout.splitlines() if step.stage.key[:12] in line.split()[1:2]]
        assert " run " in line
        assert ("4 x 8" if step.stage.ranks == "all" else "1 x 1") in line
        assert all(child.key[:6] in line for child in step.stage.inputs())
    assert not (tmp_path / "no").exists(), "a dry run writes nothing"
