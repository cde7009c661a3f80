"""A whole training step of the harness against a bare loop around torch's DistributedDataParallel, on two ranks.

Lives here: either step on one fixed batch. Must not: the loop (`harness.loop`).

`measure` starts two processes of this module, each with one thread; rank 0 leaves what it timed in a file.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from benchmarks.speed.interleaved import in_turns, seconds
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.one_batch import OneBatch, context, training
from harness import watch
from harness.engine.group import join
from harness.errors import StageError
from harness.models.resnet import ResNet
from harness.objective import CrossEntropy
from harness.topology import Topology

BATCH, SIZE, STEPS, TURNS = 16, 160, 2, 11
LONGEST_S = 900


def measure(scratch: Path, data: Path | None) -> Iterator[Measurement]:
    """The time of steps in fp32, ZeRO 0."""
    mine, theirs = on_two_ranks(scratch / "seconds.json")
    yield Measurement(
        name="training: step, 2 ranks",
        setting=f"ResNet-18, 1,000 classes, {BATCH} images of {SIZE} x {SIZE} a rank, fp32, channels_last, ZeRO 0,"
        f" one thread a rank, {STEPS} steps a turn",
        baseline="DistributedDataParallel as it comes, SGD, cross-entropy",
        means="times the time", aim=1.10, unit="s", ours=mine, baseline_took=theirs,
    )  # fmt: skip


def on_two_ranks(result: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Run `rank` in two processes. Raises StageError if one fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    words = [sys.executable, "-m", "benchmarks.speed.training"]
    ranks = [subprocess.Popen([*words, str(r), str(port), str(result)], env=environment) for r in range(2)]
    try:
        codes = [process.wait(LONGEST_S) for process in ranks]
        if any(codes):
            raise StageError("a rank of the training benchmark failed: see above")
    finally:
        for process in ranks:
            process.kill()
    mine, theirs = json.loads(result.read_text())
    return tuple(mine), tuple(theirs)


def rank(number: int, port: int, result: Path) -> None:
    """One of the two ranks."""
    topology = Topology(rank=number, world=2, local_rank=number, master_port=port)
    with join(topology, "cpu", patience_s=LONGEST_S):
        torch.manual_seed(0)
        watch.LOOK_EVERY = STEPS  # in every turn: more often than training does
        batch = OneBatch.random(BATCH, SIZE)
        model = ResNet(depth=18, classes=1000)
        ours = training(model.build(), CrossEntropy(), batch, context(result.parent / "unfinished", topology))
        baseline = bare_step(model.build(), batch)
        times = in_turns(lambda: seconds(lambda: repeat(ours)), lambda: seconds(lambda: repeat(baseline)), turns=TURNS)
    if number == 0:
        result.write_text(json.dumps(times))


def repeat(step: Callable[[], None]) -> None:
    """The steps of one turn."""
    for _ in range(STEPS):
        step()


def bare_step(network: nn.Module, batch: OneBatch) -> Callable[[], None]:
    """What one writes by hand, with the momentum and decay of the recipe."""
    network = DistributedDataParallel(network.to(memory_format=torch.channels_last).train())  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(batch.batch.images), batch.batch.labels).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    rank(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
