"""CIFAR-100: prune-then-distill (No & Park, ECCV 2022) and EPSD (Chen et al., AAAI 2024), with the controls they need.

Command   python launch/cifar100.py --data DIR                    (DIR holds cifar-100-python/, or receives it)
Suites    full: all of prune-then-distill; fixed, formed: its paper's two tables; controls; settings: other
          temperatures; patient: five times as long; pruning: the teacher pruned in other ways; synflow; channels;
          methods: other distillation. epsd-full: all of the rest; epsd, epsd-init, epsd-ablation, self-distillation and
          cost are those of `benchmarks/cifar10.py`. Each also as <suite>-budget: the same in a tenth of the epochs. The
          place to begin with EPSD is epsd-budget
Hardware  one GPU a stage is enough; full is 151 trainings a seed, epsd-full 257 trainings, most of them of 200 epochs;
          hours not measured yet. A 79 % teacher takes 1,110 epochs; three seeds by default
Promise   none: the papers' accuracies are not established here, so the column stays blank

The recipes of prune-then-distill are those of its authors' code: Nesterov SGD with weight decay on all parameters, a
tenth of the training images held out, best epoch on them for teachers and students, last epoch for pruning rounds.
Those of EPSD are ours: all training images, last epoch.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.epsd.protocol import OURS
from benchmarks.epsd.small_images import small_images
from benchmarks.prune_then_distill import tables
from benchmarks.prune_then_distill.protocol import Protocol, Taught
from benchmarks.suites.assemble import suites
from harness.benchmark import Entry
from harness.contracts import Distillation, FeatureDistillation, Model
from harness.data.augment import Augment
from harness.data.cifar100 import Cifar100
from harness.distillation.attention_transfer import AttentionTransfer
from harness.distillation.crd import CRD
from harness.distillation.dist import DIST
from harness.distillation.dkd import DKD
from harness.distillation.fitnet import FitNet
from harness.distillation.kd import KD
from harness.distillation.nkd import NKD
from harness.distillation.relational_kd import RelationalKD
from harness.distillation.review_kd import ReviewKD
from harness.distillation.standardised_kd import StandardisedKD
from harness.models.resnet import ResNet
from harness.models.vgg import vgg, vgg19_cl1, vgg19_cl2, vgg19_dbl
from harness.recipe import Recipe
from harness.stages.prepare import Prepare

TRAIN = Recipe(
    epochs=200,
    augment=Augment(crop="pad", size=32, pad=4),
    global_batch=128,
    batch_per_gpu=128,
    lr=0.1,
    weight_decay=5e-4,
    decay_all=True,
    milestones=(60, 120, 160),
    factor=0.2,
    keep="best",
)
ROUND = replace(TRAIN, epochs=130, weight_decay=2e-4, milestones=(39, 84), factor=0.1, keep="last")
PATIENT = replace(TRAIN, epochs=1000, milestones=(300, 600, 800))
"""Five times as long under a teacher that sees the same crops, and no labels (Beyer et al., CVPR 2022)."""
ROUNDS = (2, 4, 7)
VGG19, VGG19_DBL, VGG11 = vgg(depth=19, classes=100), vgg19_dbl(classes=100), vgg(depth=11, classes=100)
METHODS: dict[str, Distillation | FeatureDistillation] = {
    "DKD": DKD(warmup_epochs=20),
    "DIST": DIST(beta=2.0, gamma=2.0, temperature=4.0),
    "NKD": NKD(gamma=3.5, temperature=3.0),
    "standardised KD": StandardisedKD(),
    "FitNet": FitNet(student_layers=VGG11.block_ends[2:3], teacher_layers=VGG19.block_ends[2:3]),
    "attention transfer": AttentionTransfer(student_layers=VGG11.block_ends, teacher_layers=VGG19.block_ends),
    "relational KD": RelationalKD(student_layers=("pool",), teacher_layers=("pool",)),
    "CRD": CRD(student_layers=("pool",), teacher_layers=("pool",)),
    "ReviewKD": ReviewKD(
        student_layers=(*VGG11.block_ends[1:], "pool"),
        teacher_layers=(*VGG19.block_ends[1:], "pool"),
        warmup_epochs=20,
    ),
}
"""The methods a reader knows, as official code or the comparison of Tian et al. (ICLR 2020) sets them on CIFAR-100.

Some are set for a pair of networks, never for this one: the `beta` of DKD for ResNet32x4 to ResNet8x4 (for VGG13 to
VGG8 it is 6), NKD for ResNet-34 to ResNet-18, the weight of ReviewKD for ResNet-110 to ResNet-32. ReviewKD compares the
layers that its official code names for VGGs, the others those of the comparison, attention transfer the first block's
too. The warm-ups of 20 epochs are not shortened with the recipes: they fill a budget suite.
"""


def make_tables(seed: int, shorten: Callable[[Recipe], Recipe]) -> dict[str, list[Entry]]:
    """Every table of prune-then-distill, by the name of its suite."""
    train = shorten(TRAIN)
    protocol = Protocol(
        data=Prepare(source=Cifar100(), minival=0.1, minival_seed=200),
        size=32,
        teacher=train,
        round=shorten(ROUND),
        seed=seed,
    )
    vgg11, vgg19, cl1, cl2 = (
        Taught(name=name, network=network, alone=train, taught=train)
        for name, network in {
            "VGG11": VGG11,
            "VGG19": VGG19,
            "VGG19-CL1": vgg19_cl1(classes=100),
            "VGG19-CL2": vgg19_cl2(classes=100),
        }.items()
    )
    patient = replace(vgg11, name="patient VGG11", alone=shorten(PATIENT), taught=shorten(PATIENT))
    return {
        "fixed": tables.fixed_students(protocol, "VGG19", VGG19, [vgg11, vgg19, cl1, cl2], ROUNDS),
        "formed": [
            *tables.formed_students(protocol, "VGG19", VGG19, vgg19, ROUNDS),
            *tables.formed_students(protocol, "VGG19-DBL", VGG19_DBL, vgg19, ROUNDS),
        ],
        "controls": tables.controls(protocol, "VGG19", VGG19, vgg11, 7),
        "settings": tables.settings(
            protocol, "VGG19", VGG19, vgg11, 7, [KD(temperature=4, kd_weight=0.9), KD(temperature=1, kd_weight=0.5)]
        ),
        "patient": tables.patient(protocol, "VGG19", VGG19, vgg11, patient, 7),
        "pruning": tables.ways_to_prune(protocol, "VGG19", VGG19, 7),
        "synflow": tables.synflow(protocol, "VGG19", VGG19, vgg11, ROUNDS),
        "channels": tables.channels(protocol, "VGG19", VGG19, vgg11, [0.36, 0.59, 0.79]),
        "methods": tables.other_methods(protocol, "VGG19", VGG19, vgg11, 7, METHODS),
    }


def make_epsd_tables(seed: int, shorten: Callable[[Recipe], Recipe]) -> dict[str, Sequence[Entry]]:
    """Every table of EPSD."""
    networks: dict[str, Model] = {"ResNet18": ResNet(depth=18, classes=100, stem="cifar"), "VGG19": VGG19}
    return small_images(seed, shorten, data=Prepare(source=Cifar100()), size=32, networks=networks)


SUITES = {
    **suites(make_tables),
    **suites(make_epsd_tables, whole="epsd-full", recipes=OURS),
}
