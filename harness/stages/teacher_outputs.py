"""Stage `teacher_outputs`: what a teacher says at every position of a training stream, for all students to read.

Lives here: the stage, and the one that fits a student's recipe. Must not: the files (`harness.outputs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.context import Context
from harness.errors import UserError
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare

if TYPE_CHECKING:
    from harness.objective import LiveTeacher


@dataclass(frozen=True, kw_only=True)
class TeacherOutputs(Stage):
    """The stream is the same for every student, so a teacher need see it only once. Use `outputs_for`."""

    ranks: ClassVar[str] = "all"

    teacher: Stage
    classes: int
    """Outputs of the teacher."""
    data: Prepare
    recipe: Recipe
    """Reduced to what a teacher meets of it."""
    seed: int
    """Of the students: it decides the stream."""
    top_k: int | None
    """None: all logits. Otherwise the largest ones, and the other classes share the rest of the probability evenly.

    That keeps the probabilities of the largest at temperature 1; at higher ones it makes them too small.
    """

    def __post_init__(self) -> None:
        if self.top_k is not None and not 0 < self.top_k < self.classes:
            raise UserError(f"top_k {self.top_k} does not lie in 1 .. {self.classes - 1}, below the number of outputs")

    @property
    def bytes_an_image(self) -> int:
        """Two or four bytes for each logit; with `top_k`, eight for each of them and four for the rest."""
        each = 2 if self.recipe.precision == "bf16" else 4
        return self.recipe.epochs * (each * self.classes if self.top_k is None else 8 * self.top_k + 4)

    def fits(self, data: Prepare, recipe: Recipe, seed: int) -> bool:
        """Whether a student trained so meets the very stream the teacher met."""
        return (self.data, self.recipe, self.seed) == (data, met_by_teacher(recipe), seed)

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.data.prepared import Prepared
        from harness.outputs import Shape, write_outputs

        recipe = self.recipe
        teacher = live_teacher(inputs[self.teacher.key], recipe, context)
        stream = Prepared(inputs[self.data.key]).train_stream(recipe, self.seed, context)
        rows = stream.steps_per_epoch * recipe.global_batch
        shape = Shape(rows, self.classes, self.top_k, bf16=recipe.precision == "bf16")
        write_outputs(teacher, stream, recipe.epochs, shape, context)
        return {"rows": rows, "epochs": recipe.epochs, "image_passes": rows * recipe.epochs}


def outputs_for(
    recipe: Recipe, *, teacher: Stage, classes: int, data: Prepare, seed: int = 0, top_k: int | None = None
) -> TeacherOutputs:
    """The outputs that students of this recipe and seed can read in place of the teacher."""
    return TeacherOutputs(
        teacher=teacher, classes=classes, data=data, recipe=met_by_teacher(recipe), seed=seed, top_k=top_k
    )


def live_teacher(folder: Path, recipe: Recipe, context: Context) -> "LiveTeacher":
    """The network of an artefact, ready to answer for batches of this recipe's stream."""
    from harness.network import place, read_network
    from harness.objective import LiveTeacher

    network = read_network(folder, recipe.augment.size)
    place(network, context.device, channels_last=recipe.channels_last, compiled=recipe.compiled)
    return LiveTeacher(network, bf16=recipe.precision == "bf16")


def met_by_teacher(recipe: Recipe) -> Recipe:
    """The part of a student's recipe that a teacher meets: the stream, and how networks are run."""
    return Recipe(
        epochs=recipe.epochs,
        augment=recipe.augment,
        global_batch=recipe.global_batch,
        batch_per_gpu=recipe.batch_per_gpu,
        precision=recipe.precision,
        channels_last=recipe.channels_last,
        compiled=recipe.compiled,
    )
