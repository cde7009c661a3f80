"""CIFAR-10: EPSD (Chen et al., AAAI 2024) with the baselines and ablations its claim needs.

Command   python launch/cifar10.py --data DIR                 (DIR holds cifar-10-batches-py/, or receives it)
Suites    full: all of the following; epsd: ResNet-18 and VGG19 at six sparsities, by CS-KD, PS-KD and DLB; epsd-init:
          criteria at initialisation; epsd-ablation: EPSD without its parts, and on channels; self-distillation: dense
          networks by more methods; cost: beside prune-then-distill at the same sparsities, by all the training each
          took; the last three of ResNet-18; each also as <suite>-budget: the same in a tenth of the epochs. The place
          to begin is epsd-budget
Hardware  one GPU a stage is enough; full is 257 trainings a seed, 237 of them of 200 epochs, hours not measured yet.
          Three seeds are the default
Promise   none: the paper's accuracies are not established here, so the column stays blank

EPSD's code is not public, and what could be read of the paper names no networks, sparsities or recipes: these are ours.
All training images are trained on, and the last epoch is kept.
"""

from collections.abc import Callable, Sequence

from benchmarks.epsd.protocol import OURS
from benchmarks.epsd.small_images import small_images
from benchmarks.suites.assemble import suites
from harness.benchmark import Entry
from harness.contracts import Model
from harness.data.cifar10 import Cifar10
from harness.models.resnet import ResNet
from harness.models.vgg import vgg
from harness.recipe import Recipe
from harness.stages.prepare import Prepare

NETWORKS: dict[str, Model] = {
    "ResNet18": ResNet(depth=18, classes=10, stem="cifar"),
    "VGG19": vgg(depth=19, classes=10),
}


def make_tables(seed: int, shorten: Callable[[Recipe], Recipe]) -> dict[str, Sequence[Entry]]:
    """Every table of the benchmark, by the name of its suite."""
    return small_images(seed, shorten, data=Prepare(source=Cifar10()), size=32, networks=NETWORKS)


SUITES = suites(make_tables, recipes=OURS)
