"""What training minimises, as named loss terms.

Lives here: the objectives the training loop calls, and a teacher that answers them. Must not: formulas of methods
(`harness.distillation`), backward.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.batch import Batch
from harness.contracts import Distillation


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
        return self.method.terms(logits, self.teacher(batch).to(logits.dtype), batch.labels)

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
