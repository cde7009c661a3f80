"""Knowledge distillation from standardised logits.

Lives here: the method `StandardisedKD`. Must not: teachers and how they are run (`harness.objective`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_not_negative, require_positive
from harness.divergence import softened_kl

if TYPE_CHECKING:
    from torch import Tensor

    from harness.batch import Batch


@dataclass(frozen=True, kw_only=True)
class StandardisedKD:
    """Sun et al. (CVPR 2024): what matters is the shape of the logits, neither mean nor spread. Defaults: CIFAR-100."""

    temperature: float = 2.0
    kd_weight: float = 9.0
    ce_weight: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "temperature")
        require_not_negative(self, "kd_weight", "ce_weight")

    def terms(self, student_logits: "Tensor", teacher_logits: "Tensor", batch: "Batch") -> "dict[str, Tensor]":
        """CE, and T^2 KL(teacher || student) of the softened z-scores of each row.

        Logits (B, classes); means over the batch.
        """
        from torch.nn import functional as F

        kl = softened_kl(_standardised(student_logits), _standardised(teacher_logits), self.temperature)
        return {
            "ce": self.ce_weight * F.cross_entropy(student_logits, batch.labels),
            "kd": self.kd_weight * self.temperature**2 * kl,
        }


def _standardised(logits: "Tensor") -> "Tensor":
    """Each row with mean 0 and (unbiased) standard deviation 1; a constant row becomes zeros."""
    spread = logits.std(dim=1, keepdim=True) + 1e-7  # the official code's constant
    return (logits - logits.mean(dim=1, keepdim=True)) / spread
