"""Knowledge distillation from softened outputs.

Lives here: the method `KD`. Must not: teachers and how they are run (`harness.objective`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_positive, require_share
from harness.divergence import softened_kl

if TYPE_CHECKING:
    from torch import Tensor

    from harness.batch import Batch


@dataclass(frozen=True, kw_only=True)
class KD:
    """Hinton, Vinyals & Dean (2015); the defaults are those of No & Park (ECCV 2022)."""

    temperature: float = 10.0
    kd_weight: float = 0.95
    """Share of the distillation term; the cross-entropy gets the rest."""

    def __post_init__(self) -> None:
        require_positive(self, "temperature")
        require_share(self, "kd_weight")

    def terms(self, student_logits: "Tensor", teacher_logits: "Tensor", batch: "Batch") -> "dict[str, Tensor]":
        """(1 - w) CE(labels, s) and w T^2 KL(softmax(t / T) || softmax(s / T)), means over the batch.

        Logits s and t (B, classes). T^2 keeps the gradient's size independent of the temperature.
        """
        from torch.nn import functional as F

        ce = F.cross_entropy(student_logits, batch.labels)
        kl = softened_kl(student_logits, teacher_logits, self.temperature)
        return {"ce": (1 - self.kd_weight) * ce, "kd": self.kd_weight * self.temperature**2 * kl}
