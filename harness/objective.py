"""What training minimises, as named loss terms.

Lives here: the objectives the training loop calls, a teacher that answers them, and the sum of their terms. Must not:
formulas of methods (`harness.distillation`), backward.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.batch import Batch, Mates
from harness.contracts import (
    Distillation,
    FeatureDistillation,
    Forward,
    Given,
    Memory,
    Objective,
    SelfDistillation,
)
from harness.course import Course
from harness.taps import Outputs, Taps


def loss(objective: Objective, network: Forward, batch: Batch) -> Tensor:
    """What training minimises on a batch, at the weights that `network` stands for."""
    return total(objective.terms(network, batch, objective.given(network, batch)))


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The loss: the sum of an objective's scalar terms, in fp32 whatever the precision of the network."""
    return torch.stack([term.float() for term in terms.values()]).sum()


class CrossEntropy:
    """Cross-entropy with the labels, which `label_smoothing` mixes with the uniform distribution."""

    learned = None
    mates: Mates = "none"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def given(self, network: Forward, batch: Batch) -> None:
        """Labels are enough."""

    def terms(self, network: Forward, batch: Batch, given: Given) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(network(batch.images), batch.labels, label_smoothing=self.label_smoothing)}

    def end_step(self) -> None:
        """Nothing is remembered."""


class Distilled:
    """Learns from labels and from the logits (n, classes) that a teacher has for the same batch."""

    learned = None
    mates: Mates = "none"

    def __init__(self, method: Distillation, teacher: Callable[[Batch], Tensor]) -> None:
        self.method = method
        self.teacher = teacher

    def given(self, network: Forward, batch: Batch) -> Tensor:
        return self.teacher(batch)

    def terms(self, network: Forward, batch: Batch, given: Given) -> dict[str, Tensor]:
        logits = network(batch.images)
        return self.method.terms(logits, given.to(logits.dtype), batch)

    def end_step(self) -> None:
        """Nothing is remembered."""


class LiveTeacher:
    """A frozen network that sees the same images; it is put into evaluation mode for good."""

    def __init__(self, network: nn.Module, *, bf16: bool = False) -> None:
        self.network = network.eval().requires_grad_(False)
        self.bf16 = bf16

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.bf16):
            logits: Tensor = self.network(batch.images)
        return logits


class FeatureDistilled:
    """Learns from labels and from what a live teacher puts out for the same images, at its tapped layers too."""

    mates: Mates = "none"

    def __init__(
        self,
        method: FeatureDistillation,
        teacher: LiveTeacher,
        student_taps: Taps,
        teacher_taps: Taps,
        adapters: nn.Module,
        gather: Callable[[Tensor], Tensor],
    ) -> None:
        """`gather` makes [world, ...] of the tensors of all ranks; a memory of images needs it."""
        self.method, self.teacher = method, teacher
        self.student_taps, self.teacher_taps = student_taps, teacher_taps
        self.learned, self.gather = adapters, gather

    def given(self, network: Forward, batch: Batch) -> Outputs:
        return Outputs(self.teacher(batch), self.teacher_taps.take())

    def terms(self, network: Forward, batch: Batch, given: Given) -> dict[str, Tensor]:
        logits = network(batch.images)
        student = Outputs(logits, self.student_taps.take())
        return self.method.terms(student.to(logits.dtype), given.to(logits.dtype), batch, self.learned)

    def end_step(self) -> None:
        """What the step has met is remembered, if the method remembers."""
        if isinstance(self.learned, Memory):
            self.learned.end_step(self.gather)


class SelfDistilled:
    """Learns from labels and from the network itself: on other images, at an earlier update, at an earlier exit."""

    def __init__(self, method: SelfDistillation, network: nn.Module, course: Course) -> None:
        self.method, self.mates = method, method.mates
        self.learned, self.gather = method.beside(network, course), course.ranks.gather

    @torch.no_grad()
    def given(self, network: Forward, batch: Batch) -> Given:
        return self.method.given(network, batch, self.learned)

    def terms(self, network: Forward, batch: Batch, given: Given) -> dict[str, Tensor]:
        return self.method.terms(network, batch, given, self.learned)

    def end_step(self) -> None:
        """What the step has met is remembered, if the method remembers."""
        if isinstance(self.learned, Memory):
            self.learned.end_step(self.gather)
