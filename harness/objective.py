"""What training minimises, as named loss terms.

Lives here: the objectives the training loop calls, a teacher that answers them, and the sum of their terms. Must not:
formulas of methods (`harness.distillation`), backward.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.batch import Batch
from harness.contracts import Distillation, FeatureDistillation, Memory
from harness.taps import Outputs, Taps


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The loss: the sum of an objective's scalar terms, in fp32 whatever the precision of the network."""
    return torch.stack([term.float() for term in terms.values()]).sum()


class CrossEntropy:
    """Cross-entropy with the labels, which `label_smoothing` mixes with the uniform distribution."""

    learned = None

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)}

    def end_step(self) -> None:
        """Nothing is remembered."""


class Distilled:
    """Learns from labels and from the logits (n, classes) that a teacher has for the same batch."""

    learned = None

    def __init__(self, method: Distillation, teacher: Callable[[Batch], Tensor]) -> None:
        self.method = method
        self.teacher = teacher

    def __call__(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        return self.method.terms(logits, self.teacher(batch).to(logits.dtype), batch)

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

    def __call__(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        student = _outputs(logits, self.student_taps, logits.dtype)
        teacher = _outputs(self.teacher(batch), self.teacher_taps, logits.dtype)
        return self.method.terms(student, teacher, batch, self.learned)

    def end_step(self) -> None:
        """What the step has met is remembered, if the method remembers."""
        if isinstance(self.learned, Memory):
            self.learned.end_step(self.gather)


def _outputs(logits: Tensor, taps: Taps, dtype: torch.dtype) -> Outputs:
    """Of the network's last forward, in the precision that losses are computed in."""
    return Outputs(logits.to(dtype), {path: feature.to(dtype) for path, feature in taps.take().items()})
