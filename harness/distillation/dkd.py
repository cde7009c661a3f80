"""Decoupled knowledge distillation.

Lives here: the method `DKD`. Must not: teachers and how they are run (`harness.objective`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_not_negative, require_positive
from harness.distillation._targets import without_target
from harness.divergence import softened_kl
from harness.spec import added_field

if TYPE_CHECKING:
    from torch import Tensor

    from harness.batch import Batch


@dataclass(frozen=True, kw_only=True)
class DKD:
    """Zhao et al. (CVPR 2022): the two parts of KD, weighted apart.

    The defaults are those for CIFAR-100 but for `warmup_epochs`, which is 20 there, and `beta`, which is theirs for
    ResNet32x4 to ResNet8x4 and differs from pair to pair. For ImageNet `beta` is 0.5 and `temperature` 1.
    """

    alpha: float = 1.0
    """Weight of the target class: how sure of it the teacher is."""
    beta: float = 8.0
    """Weight of the other classes among themselves."""
    temperature: float = 4.0
    ce_weight: float = 1.0
    warmup_epochs: int = added_field(default=0, neutral=0)
    """The weight of both parts rises to the full one over so many epochs.

    The official code counts epochs from 1: with 20, the first has a twentieth of the weight, the twentieth all of it.
    """

    def __post_init__(self) -> None:
        require_positive(self, "temperature")
        require_not_negative(self, "alpha", "beta", "ce_weight", "warmup_epochs")

    def terms(self, student_logits: "Tensor", teacher_logits: "Tensor", batch: "Batch") -> "dict[str, Tensor]":
        """CE, and T^2 KL(teacher || student) once over (target, rest) and once over the classes of the rest.

        Logits (B, classes); means over the batch.
        """
        from torch.nn import functional as F

        labels = batch.labels
        student, teacher = student_logits / self.temperature, teacher_logits / self.temperature
        target = softened_kl(_binary(student, labels), _binary(teacher, labels), temperature=1)
        others = softened_kl(without_target(student, labels), without_target(teacher, labels), temperature=1)
        weight = self.temperature**2 * min(1.0, (batch.epoch + 1) / max(1, self.warmup_epochs))
        return {
            "ce": self.ce_weight * F.cross_entropy(student_logits, labels),
            "target": self.alpha * weight * target,
            "non_target": self.beta * weight * others,
        }


def _binary(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Logits (B, 2) of the target and of all the rest together."""
    import torch

    target = logits.gather(1, labels[:, None])
    rest = without_target(logits, labels).logsumexp(1, keepdim=True)
    return torch.cat([target, rest], dim=1)
