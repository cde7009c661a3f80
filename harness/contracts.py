"""What a plug-in of each kind promises; every plug-in goes through `tests/contracts`.

Lives here: one protocol per kind. Must not: implementations.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch, Mates
    from harness.course import Course
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


Forward = Callable[["Tensor"], "Tensor"]
"""A network at some weights: images (n, 3, side, side) -> logits (n, classes) in fp32 or more."""

Given = Any
"""What an objective took as given for one batch: tensors without gradients, or None."""


class Objective(Protocol):
    """What training minimises; `harness.objective` holds them."""

    @property
    def mates(self) -> "Mates":
        """Which second images it needs in a batch."""
        ...

    @property
    def learned(self) -> "nn.Module | None":
        """What it learns or remembers beside the network: trained by the same engine, kept in checkpoints."""
        ...

    def end_step(self) -> None:
        """Called after every update of the weights, on all ranks together."""
        ...

    def given(self, network: Forward, batch: "Batch") -> Given:
        """What the loss of this batch takes as constant: what a teacher says, or the network itself elsewhere."""
        ...

    def terms(self, network: Forward, batch: "Batch", given: Given) -> "dict[str, Tensor]":
        """Scalar loss terms by name, from one forward of the network; the loss is their sum."""
        ...


class Criterion(Protocol):
    """A pruning criterion in `harness/criteria`. Of the endless stream of training batches it takes what it needs."""

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: Objective) -> "dict[str, Tensor]":
        """A finite score of the same shape for every prunable weight; the lowest are removed first."""
        ...


@runtime_checkable
class Sensitive(Protocol):
    """A criterion whose scores are sizes of derivatives by masks, so that those of a channel's weights add up."""

    def sensitivities(
        self, model: "nn.Module", batches: "Iterable[Batch]", objective: Objective
    ) -> "dict[str, Tensor]":
        """dL/dm at m = 1 for every prunable weight, in its shape, where m multiplies the weight."""
        ...


@runtime_checkable
class LooksAhead(Protocol):
    """A criterion that scores weights after a few steps of training."""

    def after_inner_steps(
        self, model: "nn.Module", batches: "Iterable[Batch]", objective: Objective
    ) -> "dict[str, Tensor]":
        """Every parameter as those steps leave it, by name; the model stays as it is."""
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


class SelfDistillation(Protocol):
    """A loss in `harness/self_distillation`: a network learns from labels and from itself."""

    @property
    def mates(self) -> "Mates":
        """Which second images it needs in a batch."""
        ...

    def beside(self, network: "nn.Module", course: "Course") -> "nn.Module | None":
        """What is learned (parameters) or remembered (buffers) beside the network, drawn from torch's generator.

        It is not published. One that remembers is a `Memory`.
        """
        ...

    def given(self, network: Forward, batch: "Batch", beside: "nn.Module | None") -> Given:
        """What the network has to say to itself, as constants; called without gradients."""
        ...

    def terms(self, network: Forward, batch: "Batch", given: Given, beside: "nn.Module | None") -> "dict[str, Tensor]":
        """Named loss terms, each a scalar, whose sum is minimised, from one forward of the network."""
        ...


@runtime_checkable
class RemembersImages(Protocol):
    """A loss that remembers something of every training image."""

    def bytes_an_image(self, classes: int) -> int:
        """How much, over all ranks together; each checkpoint holds as much."""
        ...


@runtime_checkable
class Sharded(Protocol):
    """A memory of which each rank holds a part of its own."""

    def whole(self) -> "Tensor":
        """All of it, the same at any number of ranks. All ranks call together."""
        ...

    def restore(self, whole: "Tensor") -> None:
        """Take this rank's part of it."""
        ...
