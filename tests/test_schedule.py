"""The learning rate a user reads off a recipe."""

import itertools
from dataclasses import replace

import pytest

from harness.data.augment import Augment
from harness.recipe import Recipe
from harness.schedule import learning_rate

AUGMENT = Augment(crop="none", size=32)
STEP = Recipe(epochs=200, augment=AUGMENT, lr=0.1, milestones=(60, 120, 160), factor=0.2)
COSINE = Recipe(epochs=18, augment=AUGMENT, lr=2.0, schedule="cosine", warmup_epochs=2)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0.1), (59.999, 0.1), (60, 0.02), (119.9, 0.02), (120, 0.004), (160, 0.0008), (199.9, 0.0008)],
)
def test_the_step_schedule_drops_at_its_milestones(epoch: float, rate: float) -> None:
    assert learning_rate(STEP, epoch) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0), (0.5, 0.5), (1, 1), (2, 2), (6, 1 + 0.5**0.5), (10, 1), (18, 0)])
def test_warm_up_is_linear_and_the_cosine_ends_at_zero(epoch: float, rate: float) -> None:
    assert learning_rate(COSINE, epoch) == pytest.approx(rate, abs=1e-12)


def test_after_the_peak_the_rate_only_falls() -> None:
    rates = [learning_rate(COSINE, 2 + step / 10) for step in range(161)]
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))


def test_a_step_schedule_warms_up_too_and_keeps_its_milestones() -> None:
    recipe = Recipe(epochs=90, augment=AUGMENT, lr=1.0, milestones=(30, 60), warmup_epochs=5)
    assert [learning_rate(recipe, epoch) for epoch in (0, 2.5, 5, 30)] == pytest.approx([0, 0.5, 1, 0.1])


@pytest.mark.parametrize(("epoch", "rate"), [(1, 1), (2, 2), (6, 1.5), (10, 1), (14, 0.5), (18, 0)])
def test_a_linear_schedule_falls_in_a_straight_line(epoch: float, rate: float) -> None:
    assert learning_rate(replace(COSINE, schedule="linear"), epoch) == pytest.approx(rate, abs=1e-12)


def test_a_recipe_that_only_warms_up_has_an_end() -> None:
    recipe = Recipe(epochs=2, augment=AUGMENT, lr=1.0, schedule="cosine", warmup_epochs=2)
    assert [learning_rate(recipe, epoch) for epoch in (1, 2)] == [0.5, 0.0]
