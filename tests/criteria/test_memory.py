"""A user scores ResNet-50 on the GPU that trains it."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.batch import Batch
from harness.criteria.grasp import GraSP
from harness.criteria.prospr import ProsPr
from harness.criteria.snip import Snip
from harness.criteria.synflow import SynFlow
from harness.models.resnet import ResNet
from harness.objective import CrossEntropy, loss


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


def peak(work: Callable[[nn.Module, Batch], object]) -> int:
    """Bytes that `work` on ResNet-50 and a batch of one image of 224 pixels needs, both included."""
    with Peak() as seen:
        torch.manual_seed(0)
        batch = Batch(torch.randn(1, 3, 224, 224), torch.tensor([0]), torch.arange(1))
        work(ResNet(depth=50, classes=1000).build(), batch)
    return seen.bytes


def training_step(network: nn.Module, batch: Batch) -> None:
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.1, momentum=0.9)
    loss(CrossEntropy(), network, batch).backward()
    optimizer.step()


@pytest.fixture(scope="module")
def of_training() -> int:
    return peak(training_step)


@pytest.mark.parametrize(
    "criterion",
    [GraSP(batches=2), ProsPr(inner_lr=0.001), Snip(), SynFlow()],  # at 0.1 one image is known by heart, the loss 0
    ids=lambda criterion: type(criterion).__name__,
)
def test_scoring_needs_at_most_four_times_what_a_training_step_needs(criterion: Any, of_training: int) -> None:
    of_scoring = peak(lambda network, batch: criterion.score(network, [batch, batch], CrossEntropy()))
    assert of_scoring <= 4 * of_training
