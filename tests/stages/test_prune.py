"""Rounds of LR rewinding as stages."""

from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.stages.prepare import Prepare
from harness.stages.prune import lr_rewinding
from harness.stages.train import Train

DATA = Prepare(source=Digits())
RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=32))
DENSE = Train(network=VGG(blocks=((8,),), classes=10), data=DATA, recipe=RECIPE)


def test_two_four_and_seven_rounds_reach_36_59_and_79_percent() -> None:
    rounds = lr_rewinding(DENSE, rounds=7, criterion=Magnitude(), data=DATA, recipe=RECIPE)
    assert [rounds[n - 1].sparsity for n in (1, 2, 4, 7)] == [0.2, 0.36, 0.5904, 0.7902848]


def test_more_rounds_contain_fewer() -> None:
    four = lr_rewinding(DENSE, rounds=4, criterion=Magnitude(), data=DATA, recipe=RECIPE)
    two = lr_rewinding(DENSE, rounds=2, criterion=Magnitude(), data=DATA, recipe=RECIPE)
    assert [stage.key for stage in four[:2]] == [stage.key for stage in two]
    assert two[0].network == DENSE
