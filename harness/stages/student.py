"""Stage `student`: the architecture of a dense student, read off a pruned teacher.

Lives here: the stage. Must not: the rules (`harness.pruning.formation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.context import Context
from harness.spec import Json, Stage, encode


@dataclass(frozen=True, kw_only=True)
class Student(Stage):
    """Layer widths such that the student has about as many weights as `like` has left (No & Park, ECCV 2022)."""

    like: Stage
    """A pruned VGG or ResNet."""

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.network import Architecture, read_architecture, read_network
        from harness.pruning.formation import form_student
        from harness.pruning.mask import prunable

        folder = inputs[self.like.key]
        weights = prunable(read_network(folder, image_size=32))  # no channel is removed: the size does not matter
        nonzeros = {name: int(weight.count_nonzero()) for name, weight in weights.items()}
        student = form_student(read_architecture(folder).model, nonzeros)
        Architecture(student).write(context.folder)
        return {"model": encode(student), "teacher_nonzeros": sum(nonzeros.values())}
