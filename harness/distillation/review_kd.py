"""Knowledge review: each of the teacher's layers is compared with the student's layers from there on, fused.

Lives here: the method `ReviewKD`. Must not: the layers that fuse (`harness.distillation._fusion`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_not_negative
from harness.distillation._layers import Shapes, require_maps, require_pairs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.taps import Outputs


@dataclass(frozen=True, kw_only=True)
class ReviewKD:
    """Chen et al. (CVPR 2021). The defaults are those for ImageNet, ResNet-34 to ResNet-18.

    For CIFAR-100 the weight lies between 0.6 and 8 and `warmup_epochs` is 20. The default layers are the four stages
    of a `models.resnet` and what follows them; in a `models.vgg` they are all block ends but the first, and "pool". The
    official code taps before the last ReLU of a stage.
    """

    student_layers: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4", "avgpool")
    """From the first to the last."""
    teacher_layers: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4", "avgpool")
    ce_weight: float = 1.0
    feature_weight: float = 1.0
    warmup_epochs: int = 0
    """The weight of the features rises to the full one over so many epochs.

    The official code counts epochs from 0: with 20, the first has none of the weight, the 21st all of it.
    """

    def __post_init__(self) -> None:
        require_pairs(self.student_layers, self.teacher_layers)
        require_not_negative(self, "ce_weight", "feature_weight", "warmup_epochs")

    def adapters(self, student: Shapes, teacher: Shapes, images: int) -> "nn.Module":
        """Attention-based fusion, one for each layer; at most 512 channels inside."""
        from harness.distillation._fusion import Fusion

        require_maps(student, teacher)
        return Fusion([shape[0] for shape in student.values()], [shape[0] for shape in teacher.values()])

    def terms(
        self, student: "Outputs", teacher: "Outputs", batch: "Batch", adapters: "nn.Module"
    ) -> "dict[str, Tensor]":
        """CE, and the hierarchical context loss of the maps (B, channels, height, width), summed over layers."""
        import torch
        from torch.nn import functional as F

        theirs = list(teacher.features.values())
        fused = adapters(list(student.features.values()), [maps.shape[2:] for maps in theirs])
        losses = [hierarchical_context(mine, maps) for mine, maps in zip(fused, theirs, strict=True)]
        weight = self.feature_weight * (min(1.0, batch.epoch / self.warmup_epochs) if self.warmup_epochs else 1.0)
        return {
            "ce": self.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "review": weight * torch.stack(losses).sum(),
        }


def hierarchical_context(student: "Tensor", teacher: "Tensor") -> "Tensor":
    """Mean squared difference of maps (B, C, H, W), whole and averaged to 4, 2 and 1 cells a side: a weighted mean.

    Each level counts half of the one before; those not coarser than the maps are left out.
    """
    from torch.nn import functional as F

    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for side in (4, 2, 1):
        if side < student.shape[2]:
            weight /= 2
            total += weight
            mine, theirs = F.adaptive_avg_pool2d(student, side), F.adaptive_avg_pool2d(teacher, side)
            loss = loss + weight * F.mse_loss(mine, theirs)
    return loss / total
