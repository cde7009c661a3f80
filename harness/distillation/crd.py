"""Contrastive representation distillation.

Lives here: the method `CRD`. Must not: its memory (`harness.distillation._contrast`).
"""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from harness.choices import require_not_negative, require_positive, require_share
from harness.distillation._layers import Shapes, require_one

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.taps import Outputs


@dataclass(frozen=True, kw_only=True)
class CRD:
    """Tian, Krishnan & Isola (ICLR 2020). The defaults are those for CIFAR-100 and ImageNet.

    The default layer is what a `models.resnet` hands to its classifier. Negatives are drawn from all images, as in the
    paper's unsupervised form; the official code for CIFAR-100 draws them from other classes than the image's. In the
    first step each micro-batch estimates the losses' constants for itself; from then on they are those of its whole.
    """

    student_layers: tuple[str, ...] = ("avgpool",)
    teacher_layers: tuple[str, ...] = ("avgpool",)
    ce_weight: float = 1.0
    feature_weight: float = 0.8
    dim: int = 128
    """Numbers in an embedding. The memory takes 8 bytes for each of them and each training image."""
    negatives: int = 16384
    """For every image; as many as there are images if those are fewer."""
    temperature: float = 0.07
    momentum: float = 0.5
    """Share of its old self that a remembered embedding keeps."""

    def __post_init__(self) -> None:
        require_one(self.student_layers)
        require_one(self.teacher_layers)
        require_positive(self, "dim", "negatives", "temperature")
        require_share(self, "momentum")
        require_not_negative(self, "ce_weight", "feature_weight")

    def adapters(self, student: Shapes, teacher: Shapes, images: int) -> "nn.Module":
        """A linear embedding of each network's feature, and a memory of both embeddings of every image."""
        from harness.distillation._contrast import Contrast

        mine, theirs = prod(student[self.student_layers[0]]), prod(teacher[self.teacher_layers[0]])
        return Contrast(mine, theirs, self.dim, images, self.momentum)

    def terms(
        self, student: "Outputs", teacher: "Outputs", batch: "Batch", adapters: "nn.Module"
    ) -> "dict[str, Tensor]":
        """CE, and noise-contrastive losses of the student's embeddings (B, dim) and the teacher's, means over B.

        Each tells the other network's remembered embedding of the image from those of randomly drawn images.
        """
        from torch.nn import functional as F

        mine = student.features[self.student_layers[0]].flatten(1)
        theirs = teacher.features[self.teacher_layers[0]].flatten(1)
        losses = adapters(mine, theirs, batch, self.negatives, self.temperature)
        return {
            "ce": self.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "crd": self.feature_weight * losses.sum(),
        }
