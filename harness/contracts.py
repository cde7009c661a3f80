"""What a plug-in of each kind promises; every plug-in goes through `tests/contracts`.

Lives here: one protocol per kind. Must not: implementations.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch


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
    """A distillation loss in `harness/distillation`."""

    def terms(self, student_logits: "Tensor", teacher_logits: "Tensor", labels: "Tensor") -> "dict[str, Tensor]":
        """Named loss terms, each a scalar, whose sum is minimised."""
        ...
