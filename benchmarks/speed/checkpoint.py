"""A checkpoint of ResNet-50 with its momentum against `torch.save` of the same tensors.

Lives here: how long a checkpoint takes until it is on the disk, and how long it holds up the steps.
Must not: checkpoints (`harness.checkpoint`).
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch

from benchmarks.speed.interleaved import in_turns, seconds
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.one_batch import context
from harness.checkpoint import Checkpoints
from harness.engine.group import join
from harness.models.resnet import ResNet
from harness.topology import Topology

TURNS, STEPS = 25, 120
SETTING = "ResNet-50, 1,000 classes, parameters and momentum in fp32, 204 MB; flushed to the disk and hashed"
BASELINE = "torch.save of the same tensors, not flushed"


def measure(scratch: Path, data: Path | None) -> Iterator[Measurement]:
    """The whole, then what it costs the steps: the time they wait for it, and what its writing takes from them."""
    torch.set_num_threads(1)
    tensors, updates = state(), count(1)
    with join(Topology(), "cpu", patience_s=60):
        checkpoints = Checkpoints(context(scratch / "unfinished"))

        def save() -> None:
            checkpoints.save(next(updates), {}, tensors)

        def save_whole() -> None:
            save()
            checkpoints.finish()

        def torch_save() -> None:
            torch.save(tensors, scratch / "baseline.pt")

        mine, theirs = in_turns(lambda: seconds(save_whole), lambda: seconds(torch_save), turns=TURNS)
        yield Measurement(
            name="checkpoint: until it is safe", setting=SETTING, baseline=BASELINE,
            means="times the time", aim=1.5, unit="s", ours=mine, baseline_took=theirs,
        )  # fmt: skip

        def held_up() -> float:
            held = seconds(save)
            checkpoints.finish()
            return held

        mine, theirs = in_turns(held_up, lambda: seconds(torch_save), turns=TURNS)
        yield Measurement(
            name="checkpoint: the loop stands still", setting=SETTING, baseline=BASELINE,
            means="times the time", aim=0.25, unit="s", ours=mine, baseline_took=theirs,
        )  # fmt: skip

        def lost() -> float:
            """Seconds that steps take longer with a checkpoint among them."""
            undisturbed = seconds(steps)
            disturbed = seconds(save) + seconds(steps)
            checkpoints.finish()
            return max(0.0, disturbed - undisturbed)

        mine, theirs = in_turns(lost, lambda: seconds(torch_save), turns=TURNS)
        yield Measurement(
            name="checkpoint: the steps lose in all",
            setting=f"{SETTING}; {STEPS} products of 512 x 512 matrices on one thread as steps, while it is written",
            baseline=BASELINE, means="times the time", aim=0.25, unit="s", ours=mine, baseline_took=theirs,
        )  # fmt: skip


def state() -> dict[str, torch.Tensor]:
    """What a checkpoint holds of a network in training, without its BatchNorm."""
    parameters = dict(ResNet(depth=50, classes=1000).build().named_parameters())
    weights = {f"weights.{name}": tensor.detach() for name, tensor in parameters.items()}
    return weights | {f"momentum.{name}": torch.randn_like(tensor) for name, tensor in parameters.items()}


def steps() -> None:
    """Arithmetic that takes about as long as a checkpoint is being written."""
    matrix = torch.ones(512, 512)
    for _ in range(STEPS):
        matrix = (matrix @ matrix).clamp_(0, 1)
