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


@dataclass(frozen=True, kw_only=True)
class Distill(Stage):
    """The student learns from `teacher`'s outputs on the very crops it sees itself; the last epoch is kept."""

    ranks: ClassVar[str] = "all"

    student: Model | Student
    teacher: Stage
    method: Distillation
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def __post_init__(self) -> None:
        if self.recipe.label_smoothing:
            raise UserError("a distilled student learns from its teacher's outputs: label_smoothing must be 0")

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.network import place, read_network
        from harness.objective import Distilled
        from harness.stages._fit import architecture_of, fit

        torch.manual_seed(self.seed)
        size = self.recipe.augment.size
        architecture = architecture_of(self.student, inputs)
        network = architecture.build(size)
        teacher = read_network(inputs[self.teacher.key], size)
        place(teacher, context.device, channels_last=self.recipe.channels_last)
        return fit(self, architecture, network, Distilled(self.method, teacher), inputs, context)
