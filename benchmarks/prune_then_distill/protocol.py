"""How one data set is used in prune-then-distill: its recipes, and the stages they make.

Lives here: `Protocol`, `Taught`. Must not: which stages a table holds (`tables`), any data set.
"""

from dataclasses import dataclass, replace
from typing import Literal

from harness.benchmark import Entry
from harness.contracts import Criterion, Distillation, FeatureDistillation, Model
from harness.criteria.magnitude import Magnitude
from harness.distillation.kd import KD
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import Prune, lr_rewinding
from harness.stages.retrain import retrained
from harness.stages.smoothing import Smoothing
from harness.stages.soften import Soften
from harness.stages.student import Student
from harness.stages.train import Train


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A student: its architecture, and how it is trained alone and by a teacher."""

    name: str
    network: Model | Student
    alone: Recipe
    taught: Recipe


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all entries of a benchmark share, under one seed."""

    data: Prepare
    size: int
    resize_ratio: float = 1.0
    teacher: Recipe
    """Of the dense teacher."""
    round: Recipe
    """Of a round of pruning."""
    method: KD = KD()
    seed: int = 0

    def dense(self, network: Model) -> Train:
        """The dense teacher."""
        return Train(network=network, data=self.data, recipe=self.teacher, seed=self.seed)

    def rounds(
        self,
        network: Model,
        count: int,
        criterion: Criterion = Magnitude(),  # noqa: B008  # frozen
        recipe: Recipe | None = None,
        rewind_to: Stage | None = None,
    ) -> list[Prune]:
        """The teacher after each round of global pruning, with LR rewinding unless `recipe` or `rewind_to` differ."""
        return lr_rewinding(
            self.dense(network),
            rounds=count,
            criterion=criterion,
            data=self.data,
            recipe=recipe or self.round,
            seed=self.seed,
            rewind_to=rewind_to,
        )

    def retrained(self, network: Model, count: int) -> Stage:
        """The dense teacher after as many rounds in which nothing goes."""
        return retrained(self.dense(network), rounds=count, data=self.data, recipe=self.round, seed=self.seed)

    def softened(self, network: Stage, like: Stage, by: Literal["uniform", "temperature"]) -> Soften:
        """A teacher made as soft as another at the temperature students see them at."""
        return Soften(
            network=network,
            like=like,
            by=by,
            temperature=self.method.temperature,
            data=self.data,
            augment=self.teacher.augment,
            seed=self.seed,
        )

    def alone(self, student: Taught) -> Train:
        """The student of labels only."""
        return Train(network=student.network, data=self.data, recipe=student.alone, seed=self.seed)

    def taught(
        self, student: Taught, teacher: Stage, method: Distillation | FeatureDistillation | None = None
    ) -> Distill:
        """The student of a teacher."""
        return Distill(
            student=student.network,
            teacher=teacher,
            method=method or self.method,
            data=self.data,
            recipe=student.taught,
            seed=self.seed,
        )

    def entry(self, name: str, network: Stage, *, against: tuple[str, ...] = (), dense: Stage | None = None) -> Entry:
        """Evaluated on val and train; a student beside its teacher, a teacher beside the `dense` one."""
        evaluate = Evaluate(
            network=network,
            data=self.data,
            size=self.size,
            resize_ratio=self.resize_ratio,
            teacher=network.teacher if isinstance(network, Distill) else None,
        )
        smoothing = Smoothing(
            network=network, dense=dense or network, data=self.data, augment=self.teacher.augment, seed=self.seed
        )
        return Entry(
            name=name,
            evaluate=evaluate,
            train=replace(evaluate, split="train", teacher=None),
            smoothing=smoothing if dense else None,
            against=against,
        )
