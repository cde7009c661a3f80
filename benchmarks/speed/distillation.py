"""What distillation adds to a student's step: the forward of a live teacher, next to nothing with a stored one.

Lives here: steps of a student alone, of its teacher, and of both. Must not: losses (`harness.distillation`).
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.speed.interleaved import in_turns, seconds
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.one_batch import OneBatch, context, training
from harness.distillation.kd import KD
from harness.engine.group import join
from harness.models.resnet import ResNet
from harness.network import place
from harness.objective import CrossEntropy, Distilled, LiveTeacher
from harness.outputs import EpochWriter, Shape, StoredOutputs, write_shape
from harness.topology import Topology

BATCH, SIZE, TURNS = 16, 160, 9
SETTING = f"student ResNet-18, 1,000 classes, {BATCH} images of {SIZE} x {SIZE}, fp32, channels_last, KD, one thread"


def measure(scratch: Path, data: Path | None) -> Iterator[Measurement]:
    """A live ResNet-50, then its stored outputs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with join(Topology(), "cpu", patience_s=60):
        batch = OneBatch.random(BATCH, SIZE)
        place_ = context(scratch / "unfinished")
        teacher = LiveTeacher(place(ResNet(depth=50, classes=1000).build(), "cpu", channels_last=True))
        outputs = stored(teacher, batch, scratch)
        student = ResNet(depth=18, classes=1000)
        alone = training(student.build(), CrossEntropy(), batch, place_)
        from_live = training(student.build(), Distilled(KD(), teacher), batch, place_)
        from_stored = training(student.build(), Distilled(KD(), outputs), batch, place_)
        mine, theirs = in_turns(
            lambda: seconds(from_live), lambda: seconds(alone) + seconds(lambda: teacher(batch.batch)), turns=TURNS
        )
        yield Measurement(
            name="distillation: live teacher", setting=f"{SETTING}; teacher ResNet-50",
            baseline="student step + teacher forward, measured apart",
            means="times the time", aim=1.05, unit="s", ours=mine, baseline_took=theirs,
        )  # fmt: skip
        mine, theirs = in_turns(lambda: seconds(from_stored), lambda: seconds(alone), turns=TURNS)
        yield Measurement(
            name="distillation: stored outputs", setting=f"{SETTING}; all logits, fp32", baseline="student step alone",
            means="times the time", aim=1.05, unit="s", ours=mine, baseline_took=theirs,
        )  # fmt: skip


def stored(teacher: LiveTeacher, batch: OneBatch, folder: Path) -> StoredOutputs:
    """The teacher's outputs for the batch, on disk."""
    shape = Shape(BATCH, 1000, None)
    write_shape(shape, folder)
    with EpochWriter(folder, 0, shape) as writer:
        writer.append(teacher(batch.batch))
    return StoredOutputs(folder)
