"""The benchmark that single faults hit: the same small training under several seeds."""

from dataclasses import replace

from harness.benchmark import Entry, Suite
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.train import Train

DATA = Prepare(source=Digits())
RECIPE = Recipe(
    epochs=30,
    augment=Augment(crop="pad", size=32, pad=2, flip=False),
    global_batch=64,
    batch_per_gpu=32,
    lr=0.05,
    engine="ddp",
)


def main(seed: int) -> Suite:
    """Seconds of training."""
    return _suite(RECIPE, seed)


def long(seed: int) -> Suite:
    """Longer than 30 s, for so often Slurm looks after time limits."""
    return _suite(replace(RECIPE, epochs=150), seed)


def _suite(recipe: Recipe, seed: int) -> Suite:
    network = Train(network=VGG(blocks=((8,), (16,)), classes=10), data=DATA, recipe=recipe, seed=seed)
    return Suite(entries=(Entry(name="dense", evaluate=Evaluate(network=network, data=DATA, size=32)),))


SUITES = {"main": main, "long": long}
