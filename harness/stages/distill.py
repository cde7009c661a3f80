"""Stage `distill`: a student from scratch, taught by labels and a trained network.

Lives here: the stage. Must not: losses (`harness.distillation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.contracts import Distillation, Model
from harness.errors import UserError
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare
from harness.stages.student import Student
from harness.stages.teacher_outputs import TeacherOutputs, live_teacher


@dataclass(frozen=True, kw_only=True)
class Distill(Stage):
    """The student learns from `teacher`'s outputs on the very crops it sees itself; the last epoch is kept."""

    version: ClassVar[int] = 2  # running statistics move once a step, not once a micro-batch
    ranks: ClassVar[str] = "all"

    student: Model | Student
    teacher: Stage
    """A trained network, or its `TeacherOutputs` for this data, recipe and seed."""
    method: Distillation
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def __post_init__(self) -> None:
        if self.recipe.label_smoothing:
            raise UserError("a distilled student learns from its teacher's outputs: label_smoothing must be 0")
        if isinstance(self.teacher, TeacherOutputs) and not self.teacher.fits(self.data, self.recipe, self.seed):
            raise UserError("the stored outputs belong to another stream: make them by outputs_for(recipe, seed=...)")

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.objective import Distilled
        from harness.outputs import StoredOutputs
        from harness.stages._fit import architecture_of, fit

        torch.manual_seed(self.seed)
        architecture = architecture_of(self.student, inputs)
        network = architecture.build(self.recipe.augment.size)
        made = inputs[self.teacher.key]
        teacher = (
            StoredOutputs(made)
            if isinstance(self.teacher, TeacherOutputs)
            else live_teacher(made, self.recipe, context)
        )
        return fit(self, architecture, network, Distilled(self.method, teacher), inputs, context)
