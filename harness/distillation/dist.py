"""Distillation from a stronger teacher, by relations in place of values.

Lives here: the method `DIST`. Must not: teachers and how they are run (`harness.objective`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_not_negative, require_positive

if TYPE_CHECKING:
    from torch import Tensor

    from harness.batch import Batch


@dataclass(frozen=True, kw_only=True)
class DIST:
    """Huang et al. (NeurIPS 2022). The defaults are those for ImageNet.

    For CIFAR-100 `beta` and `gamma` are 2 and `temperature` is 4.
    """

    beta: float = 1.0
    """Weight of the relations between the classes of an image."""
    gamma: float = 1.0
    """Weight of the relations between the images of a batch, within each class."""
    temperature: float = 1.0
    ce_weight: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "temperature")
        require_not_negative(self, "beta", "gamma", "ce_weight")

    def terms(self, student_logits: "Tensor", teacher_logits: "Tensor", batch: "Batch") -> "dict[str, Tensor]":
        """CE, and T^2 (1 - r), r Pearson's correlation of probabilities, mean over rows and mean over columns.

        Logits (B, classes).
        """
        from torch.nn import functional as F

        student = (student_logits / self.temperature).softmax(dim=1)
        teacher = (teacher_logits / self.temperature).softmax(dim=1)
        return {
            "ce": self.ce_weight * F.cross_entropy(student_logits, batch.labels),
            "inter": self.beta * self.temperature**2 * (1 - _correlation(student, teacher).mean()),
            "intra": self.gamma * self.temperature**2 * (1 - _correlation(student.T, teacher.T).mean()),
        }


def _correlation(one: "Tensor", other: "Tensor") -> "Tensor":
    """Pearson's correlation (rows,) of each row of one matrix with that of the other.

    The official code's constant takes it to 0 for a row that hardly varies: a class that no image of the batch may be.
    """
    one, other = one - one.mean(dim=1, keepdim=True), other - other.mean(dim=1, keepdim=True)
    lengths: Tensor = one.norm(dim=1) * other.norm(dim=1) + 1e-8
    return (one * other).sum(dim=1) / lengths
