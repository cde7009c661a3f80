"""Decoupled knowledge distillation.

Lives here: the method `DKD`. Must not: teachers and how they are run (`harness.objective`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.distillation._divergence import softened_kl
from harness.distillation._targets import without_target

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DKD:
    """Zhao et al. (CVPR 2022): the two parts of KD, weighted apart.

    The defaults are those for CIFAR-100; for ImageNet `beta` is 0.5 and `temperature` 1. The official code raises the
    weight of both parts from 0 over the first 20 epochs on CIFAR-100, none of it on ImageNet; here it is constant.
    """

    alpha: float = 1.0
    """Weight of the target class: how sure of it the teacher is."""
    beta: float = 8.0
    """Weight of the other classes among themselves."""
    temperature: float = 4.0
    ce_weight: float = 1.0

    def terms(self, student_logits: "Tensor", teacher_logits: "Tensor", labels: "Tensor") -> "dict[str, Tensor]":
        """CE, and T^2 KL(teacher || student) once over (target, rest) and once over the classes of the rest.

        Logits (B, classes), labels (B,); means over the batch.
        """
        from torch.nn import functional as F

        student, teacher = student_logits / self.temperature, teacher_logits / self.temperature
        target = softened_kl(_binary(student, labels), _binary(teacher, labels), temperature=1)
        others = softened_kl(without_target(student, labels), without_target(teacher, labels), temperature=1)
        return {
            "ce": self.ce_weight * F.cross_entropy(student_logits, labels),
            "target": self.alpha * self.temperature**2 * target,
            "non_target": self.beta * self.temperature**2 * others,
        }


def _binary(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Logits (B, 2) of the target and of all the rest together."""
    import torch

    target = logits.gather(1, labels[:, None])
    rest = without_target(logits, labels).logsumexp(1, keepdim=True)
    return torch.cat([target, rest], dim=1)
