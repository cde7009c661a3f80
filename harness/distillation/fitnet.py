"""Hints: the student's maps are to become the teacher's, up to a linear layer.

Lives here: the method `FitNet`. Must not: how features are tapped (`harness.taps`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_not_negative
from harness.distillation._layers import Shapes, at_one_size, pairs, require_maps, require_pairs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.taps import Outputs


@dataclass(frozen=True, kw_only=True)
class FitNet:
    """Romero et al. (ICLR 2015), as one stage: hints and labels together, as Tian et al. (ICLR 2020) compare it.

    The weight is theirs for CIFAR-100, the default layers are the middle ones of a `models.resnet`. The regressor is a
    1x1 convolution; theirs adds BatchNorm and ReLU and has a stride where sizes differ, which here are averaged down.
    """

    student_layers: tuple[str, ...] = ("layer2",)
    teacher_layers: tuple[str, ...] = ("layer2",)
    ce_weight: float = 1.0
    feature_weight: float = 100.0

    def __post_init__(self) -> None:
        require_pairs(self.student_layers, self.teacher_layers)
        require_not_negative(self, "ce_weight", "feature_weight")

    def adapters(self, student: Shapes, teacher: Shapes, images: int) -> "nn.Module":
        """A 1x1 convolution from the channels of each of the student's layers to its teacher's."""
        from torch import nn

        require_maps(student, teacher)
        shapes = zip(student.values(), teacher.values(), strict=True)
        return nn.ModuleList(nn.Conv2d(mine[0], theirs[0], kernel_size=1) for mine, theirs in shapes)

    def terms(
        self, student: "Outputs", teacher: "Outputs", batch: "Batch", adapters: "nn.Module"
    ) -> "dict[str, Tensor]":
        """CE, and the mean squared difference of the maps (B, channels, height, width), summed over layers."""
        import torch
        from torch.nn import functional as F

        hints = [
            F.mse_loss(*at_one_size(regress(mine), theirs))
            for regress, (mine, theirs) in zip(adapters.children(), pairs(student, teacher), strict=True)
        ]
        return {
            "ce": self.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "hint": self.feature_weight * torch.stack(hints).sum(),
        }
