"""Stage `student`: the architecture of a dense student, read off a pruned teacher.

Lives here: the stage. Must not: the rules (`harness.pruning.formation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.spec import Json, Stage, encode


@dataclass(frozen=True, kw_only=True)
class Student(Stage):
    """Layer widths such that the student has about as many weights as `like` has left (No & Park, ECCV 2022)."""

    version: ClassVar[int] = 2  # counts all that the teacher has left, as a row does
    short: ClassVar[bool] = True
    computes: ClassVar[bool] = False

    like: Stage
    """A pruned VGG or ResNet."""

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.cost import nonzeros
        from harness.network import Architecture, read_architecture, read_network
        from harness.pruning.formation import form_student
        from harness.pruning.mask import kept, masks_of

        folder = inputs[self.like.key]
        teacher = read_network(folder, image_size=32)  # any size will do: nothing is computed
        student = form_student(read_architecture(folder).model, kept(masks_of(teacher)))
        Architecture(student).write(context.folder)
        return {"model": encode(student), "teacher_nonzeros": nonzeros(teacher)}
