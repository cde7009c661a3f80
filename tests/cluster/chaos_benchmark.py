"""The benchmark that chaos is let loose on: small trainings of every kind that remembers something between steps.

Copied into the `benchmarks/` of a project of its own, as a user would add one. Two ranks share each training.
"""

from harness.benchmark import Entry, Suite
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.kd import KD
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.self_distillation.dlb import DLB
from harness.self_distillation.ps_kd import PSKD
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import Prune
from harness.stages.self_distill import SelfDistill
from harness.stages.train import Train

DATA = Prepare(source=Digits())
NETWORK = VGG(blocks=((8,), (16,)), classes=10)
RECIPE = Recipe(
    epochs=12,
    augment=Augment(crop="pad", size=32, pad=2, flip=False),
    global_batch=64,
    batch_per_gpu=32,
    lr=0.05,
    engine="ddp",
)


def main(seed: int) -> Suite:
    """A teacher pruned twice, its student, and two networks that teach themselves."""
    dense = Train(network=NETWORK, data=DATA, recipe=RECIPE, seed=seed)
    half = Prune(network=dense, criterion=Magnitude(), sparsity=0.5, data=DATA, recipe=RECIPE, seed=seed)
    most = Prune(network=half, criterion=Magnitude(), sparsity=0.8, data=DATA, recipe=RECIPE, seed=seed)
    networks: dict[str, Stage] = {
        "dense": dense,
        "pruned 50 %": half,
        "pruned 80 %": most,
        "distilled": Distill(student=NETWORK, teacher=half, method=KD(), data=DATA, recipe=RECIPE, seed=seed),
        "PS-KD": SelfDistill(network=NETWORK, method=PSKD(), data=DATA, recipe=RECIPE, seed=seed),
        "DLB": SelfDistill(network=NETWORK, method=DLB(), data=DATA, recipe=RECIPE, seed=seed),
    }
    return Suite(
        entries=tuple(
            Entry(name=name, evaluate=Evaluate(network=network, data=DATA, size=32))
            for name, network in networks.items()
        )
    )


SUITES = {"main": main}
