"""Fashion-MNIST, a small part of it: the claims of prune-then-distill and of EPSD with their controls, on a CPU.

Command   python launch/fashion_mnist.py --data DIR                       (DIR holds FashionMNIST/raw/, or receives it)
Suites    full: prune-then-distill; epsd: early pruning and self-distillation, 79, 90 and 95 % sparse, without
          prune-then-distill at the same sparsities: 95 % is 13 rounds of pruning, each a training
Hardware  two CPU cores; full is 35 trainings a seed, epsd 37 trainings of 20 epochs; results/fashion_mnist.md tells
          what they took
Data      200 training images of each class, all 10,000 test images
Promise   none: nothing is published for these protocols. Their networks are thin and their schedules short: they show
          that the measurement works, and what it gives here; they are no statement about full-size networks
"""

from benchmarks.epsd import protocol as epsd
from benchmarks.epsd.tables import main
from benchmarks.prune_then_distill import tables
from benchmarks.prune_then_distill.protocol import Protocol, Taught
from benchmarks.suites.assemble import merged
from harness.benchmark import Suite
from harness.data.augment import Augment
from harness.data.fashion_mnist import FashionMnist
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.stages.prepare import Prepare

TEACHER = VGG(blocks=((8, 8), (16, 16), (32, 32)), classes=10)
STUDENT = VGG(blocks=((8,), (16,), (32,)), classes=10)


def recipe(epochs: int) -> Recipe:
    """Nesterov SGD on one cosine."""
    return Recipe(
        epochs=epochs,
        augment=Augment(crop="pad", size=28, pad=2),
        global_batch=64,
        batch_per_gpu=64,
        lr=0.1,
        weight_decay=5e-4,
        schedule="cosine",
        warmup_epochs=1,
    )


def full(seed: int) -> Suite:
    """Controls for a small student and a 59 % teacher, and the student that is formed from it."""
    protocol = Protocol(
        data=Prepare(source=FashionMnist(per_class=200)), size=28, teacher=recipe(30), round=recipe(10), seed=seed
    )
    student = Taught(name="student", network=STUDENT, alone=recipe(30), taught=recipe(30))
    return Suite(
        entries=merged(
            tables.controls(protocol, "teacher", TEACHER, student, 4),
            tables.formed_students(protocol, "teacher", TEACHER, student, [4]),
        ),
        seeds=3,
    )


def early(seed: int) -> Suite:
    """EPSD by three methods, with random masks; by CS-KD also with masks that are shuffled within layers."""
    protocol = epsd.Protocol(data=Prepare(source=FashionMnist(per_class=200)), size=28, recipe=recipe(20), seed=seed)
    return Suite(entries=main(protocol, "VGG", TEACHER, epsd.METHODS, (0.79, 0.90, 0.95)), seeds=3)


SUITES = {"full": full, "epsd": early}
