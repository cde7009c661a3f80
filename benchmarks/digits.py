"""Handwritten digits: the whole pipeline in minutes, with nothing to download.

Command   python launch/digits.py
Hardware  two CPU cores, two and a half minutes
Data      scikit-learn's 1,797 scanned digits, enlarged to 32x32; a seeded fifth of them is held out
Promise   dense teacher at least 97 % top-1 on the held-out digits; the other entries promise nothing
"""

from harness.benchmark import Entry, Suite
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.kd import KD
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import lr_rewinding
from harness.stages.prune_channels import PruneChannels
from harness.stages.student import Student
from harness.stages.teacher_outputs import outputs_for
from harness.stages.train import Train

DATA = Prepare(source=Digits())
AUGMENT = Augment(crop="pad", size=32, pad=2, flip=False)
TEACHER = VGG(blocks=((16, 16), (32, 32), (64, 64)), classes=10)
STUDENT = VGG(blocks=((8,), (16,), (32,)), classes=10)


def recipe(epochs: int) -> Recipe:
    """Nesterov SGD on one cosine; BatchNorm sees 32 images at a time on any number of ranks up to two."""
    return Recipe(
        epochs=epochs,
        augment=AUGMENT,
        global_batch=64,
        batch_per_gpu=32,
        lr=0.1,
        weight_decay=5e-4,
        schedule="cosine",
        warmup_epochs=1,
    )


def full(seed: int = 0) -> Suite:
    """Teachers dense, pruned and thinned; students alone and distilled, of a fixed and a formed architecture."""
    dense = Train(network=TEACHER, data=DATA, recipe=recipe(9), seed=seed)
    _, pruned36, _, pruned59 = lr_rewinding(
        dense, rounds=4, criterion=Magnitude(), data=DATA, recipe=recipe(4), seed=seed
    )
    thin = PruneChannels(network=dense, reduction=0.5, data=DATA, recipe=recipe(4), seed=seed)
    formed = Student(like=pruned59)
    networks: dict[str, Stage] = {
        "dense teacher": dense,
        "pruned teacher, 36 %": pruned36,
        "pruned teacher, 59 %": pruned59,
        "channel-pruned teacher, half of the channels": thin,
    }
    students: dict[str, VGG | Student] = {"student": STUDENT, "formed student": formed}
    for name, student in students.items():
        networks |= {
            f"{name} alone": Train(network=student, data=DATA, recipe=recipe(9), seed=seed),
            f"{name} from the dense teacher": distill(student, dense, seed),
            f"{name} from the pruned teacher, 59 %": distill(student, pruned59, seed),
        }
    return Suite(
        entries=tuple(
            Entry(
                name=name,
                evaluate=Evaluate(network=network, data=DATA, size=32),
                promised=97.0 if network is dense else None,
                source="this benchmark: at least" if network is dense else None,
            )
            for name, network in networks.items()
        ),
    )


def distill(student: VGG | Student, teacher: Stage, seed: int) -> Distill:
    """The settings of No & Park: temperature 10, weight 0.95. Both students read what the teacher said once."""
    outputs = outputs_for(recipe(9), teacher=teacher, classes=10, data=DATA, seed=seed)
    return Distill(student=student, teacher=outputs, method=KD(), data=DATA, recipe=recipe(9), seed=seed)


SUITES = {"full": full}
