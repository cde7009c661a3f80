"""ImageNet: prune-then-distill from a ResNet-50 at full scale, the public distillation tables, EPSD, and a smoke test.

Command   python launch/imagenet.py --nodes 4 --data DIR            (DIR holds train/<class>/* and val/<class>/*)
Suites    full: the next four; fixed, formed: students of a given and of a formed architecture; channels; public:
          torchvision's ResNet-34 and ResNet-50 to ResNet-18, one line a method; controls: what else might explain a
          gain; synflow; epsd: EPSD (Chen et al., AAAI 2024) on epsd-resnet18 and epsd-resnet50, 79, 90 and 95 % sparse,
          by CS-KD, PS-KD and DLB; each also as <suite>-budget: the same in a tenth of the epochs. The place to begin
          with EPSD is epsd-budget
Hardware  four nodes of eight GPUs; full is 34 trainings of 90 and 100 epochs, epsd 74 trainings of 90; hours not
          measured yet. A pruned ResNet-50 takes 90 epochs a round
Promises  ResNet-50: dense 76.17, 36 % 76.61, 59 % 76.55, 79 % 76.27 (Renda et al., ICLR 2020, released data, 3 trials
          of 90 epochs a round); ResNet-18 alone 69.76 (torchvision); the public tables what their authors' pages say.
          The other entries have no established value
Memory    PS-KD remembers 1,281,167 predictions of 1,000 classes: 2.6 GB, shared out over the ranks, and in each
          checkpoint. The plan tells it by the image until the data are prepared, then in all

EPSD's code is not public: that its networks are trained as the teachers of prune-then-distill are is our choice.
Prune-then-distill at its sparsities is not beside it: 95 % is 13 rounds of 90 epochs, and 98 % would be 17.

Command   python launch/imagenet.py --nodes 4 --suite smoke --data DIR           any tree of at most 1,000 classes
Hardware  anything; a few minutes on a small tree
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from benchmarks.epsd import protocol as epsd
from benchmarks.epsd.tables import main
from benchmarks.prune_then_distill import tables
from benchmarks.prune_then_distill.protocol import Protocol, Taught
from benchmarks.suites.assemble import suites
from harness.benchmark import Entry, Suite
from harness.contracts import Distillation, FeatureDistillation
from harness.data.augment import Augment
from harness.data.image_folder import ImageFolder
from harness.distillation.attention_transfer import AttentionTransfer
from harness.distillation.crd import CRD
from harness.distillation.dist import DIST
from harness.distillation.dkd import DKD
from harness.distillation.kd import KD
from harness.distillation.nkd import NKD
from harness.distillation.review_kd import ReviewKD
from harness.models.resnet import ResNet
from harness.models.torchvision import Torchvision
from harness.recipe import Recipe
from harness.stages.prepare import Prepare
from harness.stages.pretrained import Pretrained
from harness.stages.prune_channels import PruneChannels
from harness.stages.student import Student

TEACHER = Recipe(
    epochs=90,
    augment=Augment(crop="resized", size=224),
    global_batch=1024,
    batch_per_gpu=32,
    lr=0.4,
    weight_decay=1e-4,
    milestones=(30, 60, 80),
    warmup_epochs=5,
    precision="bf16",
)
"""Renda et al.'s (ICLR 2020): rate 0.1 for every 256 images, as Goyal et al. (2017) have it."""
STUDENT = replace(
    TEACHER,
    epochs=100,
    global_batch=512,
    batch_per_gpu=16,
    lr=0.2,
    nesterov=False,
    milestones=(30, 60, 90),
    warmup_epochs=0,
    decay_all=True,
)
"""mdistiller's for the public tables, with two departures: BatchNorm sees 16 images at a time instead of 64, so that a
batch of 512 divides over 32 GPUs, and networks run in bf16. torchdistill's values come from half the batch and rate."""
SPARSITIES = (0.79, 0.90, 0.95)
RESNET50, RESNET18 = ResNet(depth=50, classes=1000), ResNet(depth=18, classes=1000)
ROUNDS = (2, 4, 7)
HALF = KD(temperature=1, kd_weight=0.5)

Published = tuple[float, str] | None
RENDA, MDISTILLER = "Renda et al., ICLR 2020, released data", "mdistiller"
PROMISES: dict[str, tuple[float, str]] = {
    "ResNet50": (76.17, RENDA),
    "ResNet50 pruned 36 %": (76.61, RENDA),
    "ResNet50 pruned 59 %": (76.55, RENDA),
    "ResNet50 pruned 79 %": (76.27, RENDA),
    "ResNet18 alone": (69.76, "torchvision model zoo"),
}
STAGES = ("layer1", "layer2", "layer3", "layer4")
PUBLIC: dict[str, dict[str, tuple[Distillation | FeatureDistillation, Published]]] = {
    "ResNet34": {
        "KD": (HALF, (71.03, MDISTILLER)),
        "KD at T 4": (KD(temperature=4, kd_weight=0.5), (71.21, "DIST")),
        "DKD": (DKD(beta=0.5, temperature=1.0), (71.70, MDISTILLER)),
        "DIST": (DIST(), (72.07, "DIST")),
        "NKD": (NKD(), (71.96, "NKD")),
        "attention transfer": (AttentionTransfer(), (70.90, "torchdistill")),
        "CRD": (CRD(), (70.93, "torchdistill")),
        "ReviewKD": (ReviewKD(), (71.61, "ReviewKD")),
    },
    "ResNet50": {
        "KD at T 4": (KD(temperature=4, kd_weight=0.5), (71.35, "DIST")),
        "DIST": (DIST(), (72.12, "DIST")),
    },
}
"""Students of torchvision's published teachers: method, and what its authors or a public rerun report."""


def make_tables(seed: int, shorten: Callable[[Recipe], Recipe]) -> dict[str, list[Entry]]:
    """Every table of the benchmark, by the name of its suite."""
    protocol = Protocol(
        data=Prepare(source=ImageFolder(name="imagenet", classes=1000)),
        size=224,
        resize_ratio=0.875,
        teacher=shorten(TEACHER),
        round=shorten(TEACHER),
        method=HALF,
        seed=seed,
    )
    student = Taught(name="ResNet18", network=RESNET18, alone=shorten(STUDENT), taught=shorten(STUDENT))
    whole = shorten(TEACHER) == TEACHER
    found = {
        "fixed": tables.fixed_students(protocol, "ResNet50", RESNET50, [student], ROUNDS),
        "formed": tables.formed_students(protocol, "ResNet50", RESNET50, student, ROUNDS),
        "channels": tables.channels(protocol, "ResNet50", RESNET50, student, [0.5]),
        "public": public(protocol, student),
        "controls": tables.controls(protocol, "ResNet50", RESNET50, student, 4),
        "synflow": tables.synflow(protocol, "ResNet50", RESNET50, student, [7]),
    }
    return {name: promised(entries) if whole else blank(entries) for name, entries in found.items()}


def make_epsd_tables(seed: int, shorten: Callable[[Recipe], Recipe]) -> dict[str, Sequence[Entry]]:
    """EPSD, a table for each network; a network's scores come of 128 images, whatever the ranks' batches."""
    protocol = epsd.Protocol(
        data=Prepare(source=ImageFolder(name="imagenet", classes=1000)),
        size=224,
        resize_ratio=0.875,
        recipe=shorten(TEACHER),
        seed=seed,
    )
    networks = {"ResNet18": RESNET18, "ResNet50": RESNET50}
    return {
        f"epsd-{name.lower()}": main(protocol, name, network, epsd.METHODS, SPARSITIES)
        for name, network in networks.items()
    }


def public(protocol: Protocol, student: Taught) -> list[Entry]:
    """The two tables every method reports, in one protocol."""
    entries = [protocol.entry("ResNet18 alone", protocol.alone(student))]
    for name, methods in PUBLIC.items():
        teacher = Pretrained(network=Torchvision(name.lower(), classes=1000), weights="IMAGENET1K_V1")
        entries.append(protocol.entry(f"{name} of torchvision", teacher))
        for label, (method, published) in methods.items():
            value, source = published or (None, None)
            line = f"ResNet18 from {name} of torchvision by {label}"
            entry = protocol.entry(line, protocol.taught(student, teacher, method), against=("ResNet18 alone",))
            entries.append(replace(entry, promised=value, source=source))
    return entries


def promised(entries: Iterable[Entry]) -> list[Entry]:
    """What is published for some of them."""
    return [
        replace(entry, promised=PROMISES[entry.name][0], source=PROMISES[entry.name][1])
        if entry.name in PROMISES
        else entry
        for entry in entries
    ]


def blank(entries: Iterable[Entry]) -> list[Entry]:
    """Nothing is published for other epochs."""
    return [replace(entry, promised=None, source=None) for entry in entries]


def smoke(seed: int) -> Suite:
    """The same stages on thin networks, small crops and one epoch: shows that everything connects, measures nothing."""
    recipe = Recipe(
        epochs=1,
        augment=Augment(crop="resized", size=64, min_area=0.25),
        global_batch=32,
        batch_per_gpu=8,
        lr=0.05,
        warmup_epochs=0,
    )
    protocol = Protocol(
        data=Prepare(source=ImageFolder(name="imagenet-smoke", max_side=160)),
        size=64,
        resize_ratio=0.875,
        teacher=recipe,
        round=recipe,
        seed=seed,
    )
    teacher = ResNet(depth=50, classes=1000, widths=(8, 16, 32, 64), stem_width=16)
    dense, (pruned,) = protocol.dense(teacher), protocol.rounds(teacher, 1)
    thin = PruneChannels(network=dense, reduction=0.5, data=protocol.data, recipe=recipe, seed=seed)
    student = Taught(
        name="student",
        network=ResNet(depth=18, classes=1000, widths=(8, 16, 32, 64), stem_width=16),
        alone=recipe,
        taught=recipe,
    )
    formed = replace(student, network=Student(like=pruned))
    networks = {
        "dense teacher": dense,
        "pruned teacher, 20 %": pruned,
        "channel-pruned teacher, half of the channels": thin,
        "student from the pruned teacher": protocol.taught(student, pruned),
        "formed student from the pruned teacher": protocol.taught(formed, pruned),
    }
    entries = [protocol.entry(name, network) for name, network in networks.items()]
    return Suite(entries=tuple(replace(entry, train=None) for entry in entries))


SUITES = {
    **suites(make_tables, full=("fixed", "formed", "channels", "public"), seeds=1, gpus=8, workers=8),
    **suites(make_epsd_tables, whole="epsd", recipes="Renda et al.'s recipe for all", seeds=1, gpus=8, workers=8),
    "smoke": smoke,
}
