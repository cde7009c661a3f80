"""What training minimises, as named loss terms.

Lives here: the objectives the training loop calls. Must not: formulas of methods (`harness.distillation`), backward.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.batch import Batch
from harness.contracts import Distillation


class CrossEntropy:
    """Cross-entropy with the labels, which `label_smoothing` mixes with the uniform distribution."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)}


class Distilled:
    """Learns from a frozen teacher that sees the same images; the teacher is put into evaluation mode for good."""

    def __init__(self, method: Distillation, teacher: nn.Module) -> None:
        self.method = method
        self.teacher = teacher.eval().requires_grad_(False)

    def __call__(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            teacher_logits: Tensor = self.teacher(batch.images)
        return self.method.terms(logits, teacher_logits.to(logits.dtype), batch.labels)
