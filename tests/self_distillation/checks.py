"""What the tests of all self-distillation methods share: formulas by hand, a short training, ranks as threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import exp, log
from threading import Barrier
from typing import Any, TypeVar

import torch
from torch import Tensor

from harness.batch import Batch
from harness.contracts import Forward, SelfDistillation
from harness.course import Course, Ranks
from harness.data.augment import Augment
from harness.recipe import Recipe
from tests.distillation.checks import CLASSES, COUNT, LABELS

RECIPE = Recipe(epochs=4, augment=Augment(crop="none", size=16), global_batch=COUNT, batch_per_gpu=COUNT)
IMAGES = 20
COURSE = Course(RECIPE, IMAGES, CLASSES)

Result = TypeVar("Result")


def saying(logits: Tensor) -> Forward:
    """A network that says the same whatever it sees."""
    return lambda images: logits


def terms(method: SelfDistillation, logits: Tensor, batch: Batch, given: Any = None) -> dict[str, Tensor]:
    """Of a method with a fresh memory, for a network that says `logits` (n, classes)."""
    network = torch.nn.Linear(1, 1)
    return method.terms(saying(logits), batch, given, method.beside(network, COURSE))


def softmax(row: list[float], temperature: float = 1) -> list[float]:
    """Of one image, number by number."""
    total = sum(exp(x / temperature) for x in row)
    return [exp(x / temperature) / total for x in row]


def cross_entropy(logits: Tensor, targets: list[list[float]]) -> float:
    """Between distributions over classes and predictions, mean over images."""
    rows = [
        -sum(t * log(p) for t, p in zip(target, softmax(row), strict=True))
        for row, target in zip(logits.tolist(), targets, strict=True)
    ]
    return sum(rows) / len(rows)


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> float:
    """KL(softmax(t / T) || softmax(s / T)), mean over images."""
    rows = [
        sum(p * log(p / q) for p, q in zip(softmax(t, temperature), softmax(s, temperature), strict=True))
        for t, s in zip(teacher.tolist(), student.tolist(), strict=True)
    ]
    return sum(rows) / len(rows)


def one_hot(labels: Tensor = LABELS) -> list[list[float]]:
    """Labels as distributions over classes."""
    return [[float(number == label) for number in range(CLASSES)] for label in labels.tolist()]


def on_ranks(world: int, work: Callable[[Ranks], Result]) -> list[Result]:
    """What `work` gives on each of so many ranks: threads, which meet whenever they exchange something."""
    barrier, sent = Barrier(world, timeout=5), [torch.empty(0)] * world

    def rank(number: int) -> Ranks:
        def gather(values: Tensor) -> Tensor:
            sent[number] = values
            barrier.wait()
            gathered = torch.stack(sent)
            barrier.wait()
            return gathered

        def add(values: Tensor) -> None:
            values.copy_(gather(values).sum(dim=0))

        return Ranks(number, world, gather, add)

    with ThreadPoolExecutor(world) as threads:
        return list(threads.map(lambda number: work(rank(number)), range(world)))
