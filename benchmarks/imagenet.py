"""ImageNet: prune-then-distill from a ResNet-50, at full scale and as a smoke test of the same stages.

Command   python launch/imagenet.py --nodes 4 --data DIR            (DIR holds train/<class>/* and val/<class>/*)
Hardware  four nodes of eight GPUs; hours not measured yet. 90 epochs each: six runs of ResNet-50 (one of them halved in
          channels), three of ResNet-18, three of the formed student
Promises  ResNet-50: dense 76.17, 36 % 76.61, 59 % 76.55 (Renda et al., ICLR 2020, released data, 3 trials of 90 epochs
          a round); ResNet-18 alone 69.76 (torchvision). The other entries have no established value.

Command   python launch/imagenet.py --nodes 4 --suite smoke --data DIR           any tree of at most 1,000 classes
Hardware  anything; a few minutes on a small tree
"""

from dataclasses import replace

from harness.benchmark import Entry, Suite
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.image_folder import ImageFolder
from harness.distillation.kd import KD
from harness.models.resnet import ResNet
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import lr_rewinding
from harness.stages.prune_channels import PruneChannels
from harness.stages.student import Student
from harness.stages.train import Train

RENDA = "Renda et al., ICLR 2020, released data"
TORCHVISION = "torchvision model zoo"


def full() -> Suite:
    """Goyal et al.'s recipe (90 epochs, rate 0.1 for every 256 images, steps at 30, 60, 80) in every stage."""
    recipe = Recipe(
        epochs=90,
        augment=Augment(crop="resized", size=224),
        global_batch=1024,
        batch_per_gpu=32,
        lr=0.4,
        nesterov=False,
        weight_decay=1e-4,
        milestones=(30, 60, 80),
        warmup_epochs=5,
        precision="bf16",
    )
    data = Prepare(source=ImageFolder(name="imagenet", classes=1000))
    teacher, student = ResNet(depth=50, classes=1000), ResNet(depth=18, classes=1000)
    entries = pipeline(data, recipe, teacher=teacher, student=student, rounds=(2, 4), controls=True)
    promises = {
        "dense teacher": (76.17, RENDA),
        "pruned teacher, 36 %": (76.61, RENDA),
        "pruned teacher, 59 %": (76.55, RENDA),
        "student alone": (69.76, TORCHVISION),
    }
    return Suite(
        entries=tuple(
            replace(entry, promised=promises[entry.name][0], source=promises[entry.name][1])
            if entry.name in promises
            else entry
            for entry in entries
        ),
        gpus=8,
        workers=8,
    )


def smoke() -> Suite:
    """The same stages on thin networks, small crops and one epoch: shows that everything connects, measures nothing."""
    recipe = Recipe(
        epochs=1,
        augment=Augment(crop="resized", size=64, min_area=0.25),
        global_batch=32,
        batch_per_gpu=8,
        lr=0.05,
        warmup_epochs=0,
    )
    data = Prepare(source=ImageFolder(name="imagenet-smoke", max_side=160))
    teacher = ResNet(depth=50, classes=1000, widths=(8, 16, 32, 64), stem_width=16)
    student = ResNet(depth=18, classes=1000, widths=(8, 16, 32, 64), stem_width=16)
    return Suite(entries=pipeline(data, recipe, teacher=teacher, student=student, rounds=(1,), controls=False))


def pipeline(
    data: Prepare, recipe: Recipe, *, teacher: ResNet, student: ResNet, rounds: tuple[int, ...], controls: bool
) -> tuple[Entry, ...]:
    """Teachers dense, after some rounds of LR rewinding, and thinned; students from the last pruned one.

    The controls are the same students alone and from the dense teacher.
    """
    dense = Train(network=teacher, data=data, recipe=recipe)
    pruned = lr_rewinding(dense, rounds=rounds[-1], criterion=Magnitude(), data=data, recipe=recipe)
    networks: dict[str, Stage] = {"dense teacher": dense}
    networks |= {f"pruned teacher, {100 * pruned[n - 1].sparsity:.0f} %": pruned[n - 1] for n in rounds}
    networks["channel-pruned teacher, half of the channels"] = PruneChannels(
        network=dense, channel_sparsity=0.5, data=data, recipe=recipe
    )
    teachers: dict[str, Stage] = {"dense": dense} if controls else {}
    teachers["pruned"] = pruned[-1]
    students: dict[str, ResNet | Student] = {"student": student, "formed student": Student(like=pruned[-1])}
    for name, architecture in students.items():
        if controls:
            networks[f"{name} alone"] = Train(network=architecture, data=data, recipe=recipe)
        for kind, source in teachers.items():
            networks[f"{name} from the {kind} teacher"] = Distill(
                student=architecture, teacher=source, method=KD(), data=data, recipe=recipe
            )
    size = recipe.augment.size
    return tuple(
        Entry(name=name, evaluate=Evaluate(network=network, data=data, size=size, resize_ratio=0.875))
        for name, network in networks.items()
    )


SUITES = {"full": full, "smoke": smoke}
