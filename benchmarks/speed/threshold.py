"""The global magnitude threshold on ResNet-50 at 80 %, against torch's own.

Lives here: its time and its memory, each side up to masked weights, and that both remove the same weights.
Must not: the threshold (`harness.pruning.threshold`).
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import prune

from benchmarks.speed.interleaved import in_turns, seconds
from benchmarks.speed.measurement import Measurement
from harness.errors import StageError
from harness.models.resnet import ResNet
from harness.pruning.mask import apply, prunable
from harness.pruning.threshold import global_masks

SPARSITY = 0.8
BASELINE = "torch.nn.utils.prune.global_unstructured (L1Unstructured)"
SETTING = "ResNet-50, 1,000 classes, sparsity 0.8, scores to masked weights; the same mask"


def measure(scratch: Path, data: Path | None) -> Iterator[Measurement]:
    """Time, then memory. Raises StageError if the masks differ."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    require_same_mask()
    mine, theirs = in_turns(lambda: time_of(ours), lambda: time_of(baseline), turns=5)
    yield Measurement(
        name="threshold: time", setting=SETTING, baseline=BASELINE,
        means="times as fast", aim=15, unit="s", ours=mine, baseline_took=theirs,
    )  # fmt: skip
    mine, theirs = in_turns(lambda: memory_of(ours), lambda: memory_of(baseline), turns=3)
    yield Measurement(
        name="threshold: extra memory", setting=f"{SETTING}; peak above what was resident before, a process each",
        baseline=BASELINE, means="times the memory", aim=0.2, unit="MiB", ours=mine, baseline_took=theirs,
    )  # fmt: skip


def ours(network: nn.Module) -> None:
    """The harness's way."""
    apply(network, global_masks({name: weight.detach().abs() for name, weight in prunable(network).items()}, SPARSITY))


def baseline(network: nn.Module) -> None:
    """torch's way."""
    layers = [(layer, "weight") for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=SPARSITY)  # type: ignore[no-untyped-call]


def resnet50() -> nn.Module:
    """The same random weights at each call."""
    torch.manual_seed(0)
    return ResNet(depth=50, classes=1000).build()


def require_same_mask() -> None:
    """Raise StageError unless both sides leave the same weights."""
    sides = [resnet50(), resnet50()]
    ours(sides[0])
    baseline(sides[1])
    for layer, other in zip(*(side.modules() for side in sides), strict=True):
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and not torch.equal(layer.weight, other.weight):
            raise StageError("threshold: the two sides leave other weights; are the scores compared in the same way?")


def time_of(side: Callable[[nn.Module], None]) -> float:
    """Seconds of one side on a fresh network."""
    network = resnet50()
    return seconds(lambda: side(network))


def memory_of(side: Callable[[nn.Module], None]) -> float:
    """MiB that one side needs at its peak, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.threshold", side.__name__]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def extra_memory(side: Callable[[nn.Module], None]) -> float:
    """MiB of this process's peak during the call above what was resident before it."""
    side(nn.Linear(8, 8))  # what the first call loads for good is not what a call needs
    network = resnet50()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now; getrusage knows no such thing
    before = _peak()
    side(network)
    return _peak() - before


def _peak() -> float:
    """MiB this process had resident at most (VmHWM; the kernel writes kB)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    print(extra_memory({"ours": ours, "baseline": baseline}[sys.argv[1]]))
