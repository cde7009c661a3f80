"""Stage `distill`: a student from scratch, taught by labels and a trained network.

Lives here: the stage. Must not: losses (`harness.distillation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.context import Context
from harness.contracts import Distillation, FeatureDistillation, Model, Objective
from harness.errors import UserError
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare
from harness.stages.student import Student
from harness.stages.teacher_outputs import TeacherOutputs, live_teacher

if TYPE_CHECKING:
    from torch import nn

    from harness.objective import Distilled, FeatureDistilled


@dataclass(frozen=True, kw_only=True)
class Distill(Stage):
    """The student learns from `teacher`'s outputs on the very crops it sees; the recipe says which epoch is kept."""

    version: ClassVar[int] = 2  # running statistics move once a step, not once a micro-batch
    ranks: ClassVar[str] = "all"

    student: Model | Student
    teacher: Stage
    """A trained network, or its `TeacherOutputs` for this data, recipe and seed if `method` compares logits alone."""
    method: Distillation | FeatureDistillation
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def __post_init__(self) -> None:
        if self.recipe.label_smoothing:
            raise UserError("a distilled student learns from its teacher's outputs: label_smoothing must be 0")
        if isinstance(self.teacher, TeacherOutputs) and not self.teacher.fits(self.data, self.recipe, self.seed):
            raise UserError("the stored outputs belong to another stream: make them by outputs_for(recipe, seed=...)")
        if isinstance(self.teacher, TeacherOutputs) and isinstance(self.method, FeatureDistillation):
            name = type(self.method).__name__
            raise UserError(f"{name} compares features, stored outputs hold logits alone: give the teacher itself")

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.data.prepared import Prepared
        from harness.stages._fit import architecture_of, fit, image_passes

        torch.manual_seed(self.seed)
        architecture = architecture_of(self.student, inputs)
        self._require_same_outputs(architecture.model.classes, inputs)
        network = architecture.build(self.recipe.augment.size)
        if isinstance(self.method, FeatureDistillation):
            objective: Objective = self._from_features(self.method, network, inputs, context)
        else:
            objective = self._from_logits(self.method, inputs, context)
        payload = fit(self, architecture, network, objective, inputs, context)
        if payload and not isinstance(self.teacher, TeacherOutputs):
            images = Prepared(inputs[self.data.key]).facts.images  # the teacher sees all that are trained on too
            payload["image_passes"] += image_passes(replace(self.recipe, keep="last"), images)
        return payload

    def _require_same_outputs(self, outputs: int, inputs: Mapping[str, Path]) -> None:
        from harness.network import read_architecture

        if isinstance(self.teacher, TeacherOutputs):
            theirs = self.teacher.classes
        else:
            theirs = read_architecture(inputs[self.teacher.key]).model.classes
        if theirs != outputs:
            raise UserError(f"the student has {outputs} outputs, its teacher {theirs}: they must be the same classes")

    def _from_logits(self, method: Distillation, inputs: Mapping[str, Path], context: Context) -> "Distilled":
        from harness.objective import Distilled
        from harness.outputs import StoredOutputs

        made = inputs[self.teacher.key]
        stored = isinstance(self.teacher, TeacherOutputs)
        return Distilled(method, StoredOutputs(made) if stored else live_teacher(made, self.recipe, context))

    def _from_features(
        self, method: FeatureDistillation, network: "nn.Module", inputs: Mapping[str, Path], context: Context
    ) -> "FeatureDistilled":
        import torch

        from harness.data.prepared import Prepared
        from harness.engine.group import gather_from_ranks
        from harness.objective import FeatureDistilled
        from harness.taps import Taps

        teacher = live_teacher(inputs[self.teacher.key], self.recipe, context)
        size, images = self.recipe.augment.size, Prepared(inputs[self.data.key]).facts.images["train"]
        taps = Taps(network, method.student_layers), Taps(teacher.network, method.teacher_layers)
        torch.manual_seed(self.seed)  # or what a method begins with would depend on what the student drew
        adapters = method.adapters(taps[0].shapes(size), taps[1].shapes(size), images)
        return FeatureDistilled(method, teacher, *taps, adapters, gather_from_ranks)
