"""Tiny-ImageNet: prune-then-distill as No & Park (ECCV 2022) run it, and EPSD (Chen et al., AAAI 2024).

Command   python launch/tiny_imagenet.py --data DIR                                    (DIR holds tiny-imagenet-200/)
Suites    full: all of prune-then-distill; fixed, formed: its paper's two tables; controls; synflow; channels; stems:
          the same teacher behind the 7x7 stem with a max-pool, to which the authors say the gain is sensitive.
          epsd-full: all of the rest; epsd: ResNet-18 at six sparsities, by CS-KD, PS-KD and DLB; epsd-init: criteria
          at initialisation; cost: beside prune-then-distill at the same sparsities, by all the training each took. Each
          also as <suite>-budget: the same in a tenth of the epochs. The place to begin with EPSD is epsd-budget
Hardware  one GPU a stage is enough; full is 125 trainings a seed of 50 to 120 epochs, epsd-full 117 trainings, 100 of
          them of 200 epochs; hours not measured yet. Three seeds are the default
Promise   none: the papers' accuracies are not established here, so the column stays blank

The recipes of prune-then-distill are those of its authors' code; where it has none, for ResNet18-DBL and ResNet50,
those of ResNet18 serve. Evaluation is on clean images; theirs crops and mirrors test images at random. The recipe of
EPSD is ours, at 64 pixels; the code of CS-KD and of DLB trains at 32. The rounds of pruning in cost are No & Park's.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.epsd import protocol as epsd
from benchmarks.epsd.at_initialisation import at_initialisation
from benchmarks.epsd.cost import cost
from benchmarks.epsd.tables import main
from benchmarks.prune_then_distill import tables
from benchmarks.prune_then_distill.protocol import Protocol, Taught
from benchmarks.suites.assemble import suites
from harness.benchmark import Entry
from harness.data.augment import Augment
from harness.data.tiny_imagenet import TinyImagenet
from harness.models.resnet import ResNet, resnet18_dbl
from harness.models.torchvision import Torchvision
from harness.models.vgg import vgg16_tiny
from harness.recipe import Recipe
from harness.stages.prepare import Prepare

TRAIN = Recipe(
    epochs=100,
    augment=Augment(crop="pad", size=64, pad=4),
    global_batch=128,
    batch_per_gpu=128,
    lr=0.01,
    weight_decay=1e-4,
    decay_all=True,
    milestones=(30, 60, 80),
    keep="best",
)
TRAIN_MOBILENET = replace(
    TRAIN,
    epochs=120,
    global_batch=256,
    batch_per_gpu=256,
    lr=0.05,
    weight_decay=5e-4,
    milestones=(60, 80, 100),
)
ROUND = replace(TRAIN, epochs=50, global_batch=512, batch_per_gpu=512, lr=0.04, milestones=(10, 30), keep="last")
TAUGHT = replace(TRAIN, global_batch=256, batch_per_gpu=256, weight_decay=5e-4, factor=0.2)
TAUGHT_MOBILENET = replace(TRAIN_MOBILENET, epochs=100, milestones=(60, 80))
ROUNDS = (2, 4, 7)
RESNET18 = ResNet(depth=18, classes=200, stem="cifar", shortcut_scale=True)
RESNET18_DBL = replace(resnet18_dbl(classes=200, stem="cifar"), shortcut_scale=True)
RESNET50 = ResNet(depth=50, classes=200, stem="cifar", shortcut_scale=True)


def make_tables(seed: int, shorten: Callable[[Recipe], Recipe]) -> dict[str, list[Entry]]:
    """Every table of prune-then-distill, by the name of its suite."""
    protocol = Protocol(
        data=Prepare(source=TinyImagenet(), minival=0.1, minival_seed=200),
        size=64,
        teacher=shorten(TRAIN),
        round=shorten(ROUND),
        seed=seed,
    )
    train, taught = shorten(TRAIN), shorten(TAUGHT)
    resnet18 = Taught(name="ResNet18", network=RESNET18, alone=train, taught=taught)
    mobilenet = Taught(
        name="MobileNet-v2",
        network=Torchvision("mobilenet_v2", classes=200),
        alone=shorten(TRAIN_MOBILENET),
        taught=shorten(TAUGHT_MOBILENET),
    )
    students = [resnet18, replace(resnet18, name="VGG16", network=vgg16_tiny(classes=200)), mobilenet]
    return {
        "fixed": tables.fixed_students(protocol, "ResNet18", RESNET18, students, ROUNDS),
        "formed": [
            *tables.formed_students(protocol, "ResNet18", RESNET18, resnet18, ROUNDS),
            *tables.formed_students(protocol, "ResNet18-DBL", RESNET18_DBL, resnet18, ROUNDS),
            *tables.formed_students(protocol, "ResNet50", RESNET50, resnet18, ROUNDS),
        ],
        "controls": tables.controls(protocol, "ResNet18", RESNET18, mobilenet, 7),
        "synflow": tables.synflow(protocol, "ResNet18", RESNET18, mobilenet, ROUNDS),
        "channels": tables.channels(protocol, "ResNet18", RESNET18, mobilenet, [0.36, 0.59, 0.79]),
        "stems": tables.fixed_students(
            protocol, "ResNet18 behind a max-pool", replace(RESNET18, stem="imagenet"), [mobilenet], ROUNDS
        ),
    }


def make_epsd_tables(seed: int, shorten: Callable[[Recipe], Recipe]) -> dict[str, Sequence[Entry]]:
    """Every table of EPSD."""
    recipe = epsd.recipe(Augment(crop="pad", size=64))
    protocol = epsd.Protocol(data=Prepare(source=TinyImagenet()), size=64, recipe=shorten(recipe), seed=seed)
    network = ResNet(depth=18, classes=200, stem="cifar")
    return {
        "epsd": main(protocol, "ResNet18", network, epsd.METHODS),
        "epsd-init": at_initialisation(protocol, "ResNet18", network),
        "cost": cost(protocol, "ResNet18", network, shorten(ROUND), "CS-KD", epsd.METHODS["CS-KD"]),
    }


SUITES = {
    **suites(make_tables),
    **suites(make_epsd_tables, whole="epsd-full", recipes=epsd.OURS),
}
