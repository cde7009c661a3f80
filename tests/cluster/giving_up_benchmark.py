"""A benchmark with a training that fails at every attempt, one that reads it, and one that is sound; on one rank."""

from dataclasses import replace

from harness.benchmark import Entry, Suite
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import Prune
from harness.stages.train import Train

DATA = Prepare(source=Digits())
RECIPE = Recipe(epochs=2, augment=Augment(crop="none", size=32), global_batch=64, batch_per_gpu=64, engine="ddp")


def main(seed: int) -> Suite:
    """The network behind `pruned` loses its weights at its first update."""
    network = VGG(blocks=((8,),), classes=10)
    hopeless = Train(network=network, data=DATA, recipe=replace(RECIPE, lr=1e30), seed=seed)
    networks: dict[str, Stage] = {
        "sound": Train(network=network, data=DATA, recipe=replace(RECIPE, lr=0.05), seed=seed),
        "hopeless": hopeless,
        "pruned": Prune(network=hopeless, criterion=Magnitude(), sparsity=0.5, data=DATA, recipe=RECIPE, seed=seed),
    }
    return Suite(
        entries=tuple(
            Entry(name=name, evaluate=Evaluate(network=network, data=DATA, size=32))
            for name, network in networks.items()
        )
    )


SUITES = {"main": main}
