"""Normalised knowledge distillation.

Lives here: the method `NKD`. Must not: teachers and how they are run (`harness.objective`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_not_negative, require_positive
from harness.distillation._targets import without_target

if TYPE_CHECKING:
    from torch import Tensor

    from harness.batch import Batch


@dataclass(frozen=True, kw_only=True)
class NKD:
    """Yang et al. (ICCV 2023). The defaults are those for ImageNet and ResNets."""

    gamma: float = 1.5
    """Weight of the other classes, whose probabilities are normalised to sum to one."""
    temperature: float = 1.0
    """Softens the other classes only."""
    ce_weight: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "temperature")
        require_not_negative(self, "gamma", "ce_weight")

    def terms(self, student_logits: "Tensor", teacher_logits: "Tensor", batch: "Batch") -> "dict[str, Tensor]":
        """CE; CE with the teacher's probability of the target as weight; T^2 cross-entropy of the other classes.

        Logits (B, classes); means over the batch. Both are cross-entropies: not zero for the teacher.
        """
        from torch.nn import functional as F

        sure = teacher_logits.softmax(dim=1).gather(1, batch.labels[:, None]).squeeze(1)
        student = without_target(student_logits, batch.labels) / self.temperature
        teacher = without_target(teacher_logits, batch.labels) / self.temperature
        return {
            "ce": self.ce_weight * F.cross_entropy(student_logits, batch.labels),
            "target": (sure * F.cross_entropy(student_logits, batch.labels, reduction="none")).mean(),
            "non_target": self.gamma * self.temperature**2 * F.cross_entropy(student, teacher.softmax(dim=1)),
        }
