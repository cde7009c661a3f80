"""A user scores ResNet-50 on the GPU that trains it, at the batch size of the training.

Tensors on the device "meta" have sizes and no numbers, so 128 images of 224 pixels need neither memory nor time.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.batch import Batch
from harness.contracts import Objective
from harness.course import Course
from harness.criteria.grasp import GraSP
from harness.criteria.prospr import ProsPr
from harness.criteria.snip import Snip
from harness.criteria.synflow import SynFlow
from harness.data.augment import Augment
from harness.models.resnet import ResNet
from harness.objective import CrossEntropy, SelfDistilled, loss
from harness.recipe import Recipe
from harness.self_distillation.dlb import DLB


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside held at one time; what a kernel needs within itself is not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in self.live:
                    self.live[id(storage)] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, id(storage))
        self.bytes = max(self.bytes, sum(self.live.values()))
        return results


Work = Callable[[nn.Module, Iterator[Batch], Objective], object]
Makes = Callable[[nn.Module, int], Objective]


def stream(size: int) -> Iterator[Batch]:
    """Batches of `size` images, each with as many second ones, as in the middle of a training."""
    for position in itertools.count(0, size):
        labels, indices = torch.zeros(size, dtype=torch.long), torch.arange(size)
        mates = Batch(torch.zeros(size, 3, 224, 224), labels, indices)
        yield Batch(torch.zeros(size, 3, 224, 224), labels, indices, position=position, mates=mates)


def cross_entropy(network: nn.Module, size: int) -> Objective:
    return CrossEntropy()


def dlb(network: nn.Module, size: int) -> Objective:
    augment = Augment(crop="resized", size=224)
    recipe = Recipe(epochs=1, augment=augment, global_batch=size, batch_per_gpu=size)
    return SelfDistilled(DLB(), network, Course(recipe=recipe, images=10 * size, classes=1000))


def peak(work: Work, makes: Makes, size: int, device: str = "meta") -> int:
    """Bytes that `work` on ResNet-50 and batches of `size` images of 224 pixels needs, both included."""
    with torch.device(device), Peak() as seen:
        torch.manual_seed(0)
        network = ResNet(depth=50, classes=1000).build()
        work(network, stream(size), makes(network, size))
    return seen.bytes


def training_step(network: nn.Module, batches: Iterator[Batch], objective: Objective) -> None:
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.1, momentum=0.9)
    loss(objective, network, next(batches)).backward()
    optimizer.step()


@cache
def of_training(makes: Makes, size: int) -> int:
    return peak(training_step, makes, size)


@pytest.mark.parametrize(
    ("criterion", "makes", "size"),
    [
        (Snip(), cross_entropy, 128),
        (ProsPr(inner_steps=1), dlb, 128),  # two evaluations, for speed; a further one keeps a copy of the weights
        (GraSP(batches=1), cross_entropy, 1),
        (GraSP(batches=2), cross_entropy, 128),  # two, for speed; a further one keeps its images
    ],
    ids=lambda value: getattr(value, "__name__", None) or (value if isinstance(value, int) else type(value).__name__),
)
def test_scoring_needs_at_most_three_times_what_a_training_step_needs(criterion: Any, makes: Makes, size: int) -> None:
    work = getattr(criterion, "sensitivities", criterion.score)  # shares of a sum need numbers
    ratio = peak(work, makes, size) / of_training(makes, size)
    assert ratio <= 3


def test_so_does_synflow_which_looks_at_one_image() -> None:
    assert peak(SynFlow().score, cross_entropy, 1, device="cpu") <= 3 * of_training(cross_entropy, 1)
