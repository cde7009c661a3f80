"""What a benchmark entry means is pinned as text: nobody moves a key or a number unnoticed."""

from pathlib import Path

import pytest

from harness.benchmark import find_suite
from harness.plan import make_plan
from harness.stages.self_distill import GENERATION
from harness.store import Store
from tests.golden.pin import path, pinned, pinned_suites, suites


@pytest.mark.parametrize(("benchmark", "suite"), pinned_suites())
def test_keys_and_specs_are_those_that_were_pinned(benchmark: str, suite: str) -> None:
    assert pinned(benchmark, suite) == path(benchmark, suite).read_text(), (
        "a spec or key moved: if that was meant, run `.venv/bin/python -m tests.golden.pin` and review the diff"
    )


def test_every_pinned_text_belongs_to_a_suite() -> None:
    assert {p.name for p in path("", "").parent.glob("*.txt")} == {path(*names).name for names in pinned_suites()}


@pytest.mark.parametrize(("benchmark", "suite"), suites())
def test_another_seed_is_another_training_of_everything(benchmark: str, suite: str) -> None:
    """A stage that its suite forgot to hand the seed would be one sample that the table calls several."""
    steps = make_plan(find_suite(benchmark, suite, 2)[1].wanted, Store(Path("nowhere")))
    seeds = [getattr(step.stage, "seed", -1) % GENERATION for step in steps if hasattr(step.stage, "recipe")]
    assert seeds.count(0) == seeds.count(1) == len(seeds) / 2
