"""What a plug-in of each kind promises; every plug-in goes through `tests/contracts`.

Lives here: one protocol per kind. Must not: implementations.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.taps import Outputs


class Model(Protocol):
    """An architecture spec in `harness/models`."""

    @property
    def classes(self) -> int:
        """Number of outputs."""
        ...

    def build(self) -> "nn.Module":
        """A freshly initialised module: images (batch, 3, side, side) -> logits (batch, classes)."""
        ...


class Objective(Protocol):
    """What training minimises; `harness.objective` holds them."""

    @property
    def learned(self) -> "nn.Module | None":
        """What it learns or remembers beside the network: trained by the same engine, kept in checkpoints."""
        ...

    def end_step(self) -> None:
        """Called after every update of the weights, on all ranks together."""
        ...

    def __call__(self, logits: "Tensor", batch: "Batch") -> "dict[str, Tensor]":
        """Logits (n, classes) of the batch's n images -> scalar loss terms by name; the loss is their sum."""
        ...


class Criterion(Protocol):
    """A pruning criterion in `harness/criteria`. Of the endless stream of training batches it takes what it needs."""

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: Objective) -> "dict[str, Tensor]":
        """A finite score of the same shape for every prunable weight; the lowest are removed first."""
        ...


class Distillation(Protocol):
    """A distillation loss in `harness/distillation` that compares logits."""

    def terms(self, student_logits: "Tensor", teacher_logits: "Tensor", batch: "Batch") -> "dict[str, Tensor]":
        """Logits (n, classes) of the batch's n images -> scalar loss terms by name, whose sum is minimised."""
        ...


@runtime_checkable
class FeatureDistillation(Protocol):
    """A distillation loss in `harness/distillation` that compares what networks put out before their logits too."""

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The student's tapped layers by module path. The defaults of a method are those of `harness.models.resnet`."""
        ...

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's."""
        ...

    def adapters(
        self, student: "Mapping[str, tuple[int, ...]]", teacher: "Mapping[str, tuple[int, ...]]", images: int
    ) -> "nn.Module":
        """What is learned (parameters) or remembered (buffers) beside the student, drawn from torch's generator.

        Every parameter takes part in every loss. Shapes of the features by path, in the order of the layers, without
        the batch; `images` are those of the training set. A module that remembers images is a `Memory`.
        """
        ...

    def terms(
        self, student: "Outputs", teacher: "Outputs", batch: "Batch", adapters: "nn.Module"
    ) -> "dict[str, Tensor]":
        """Named loss terms, each a scalar, whose sum is minimised. Features come in the order of the layers."""
        ...


@runtime_checkable
class Memory(Protocol):
    """Adapters whose buffers change from step to step, and on all ranks alike."""

    def end_step(self, gather: "Callable[[Tensor], Tensor]") -> None:
        """Called after every update of the weights; `gather` makes [world, ...] of the tensors of all ranks."""
        ...
