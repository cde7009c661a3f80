"""Attention transfer: the student is to look where its teacher looks.

Lives here: the method `AttentionTransfer`. Must not: how features are tapped (`harness.taps`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_not_negative, require_positive
from harness.distillation._layers import Shapes, at_one_size, pairs, require_maps, require_pairs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.taps import Outputs


@dataclass(frozen=True, kw_only=True)
class AttentionTransfer:
    """Zagoruyko & Komodakis (ICLR 2017), activation-based. Weight and power are the paper's, for all data sets.

    The default layers are the four stages of a `models.resnet`. Maps of unequal size: the larger is averaged down.
    """

    student_layers: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4")
    teacher_layers: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4")
    power: int = 2
    ce_weight: float = 1.0
    feature_weight: float = 1000.0

    def __post_init__(self) -> None:
        require_pairs(self.student_layers, self.teacher_layers)
        require_positive(self, "power")
        require_not_negative(self, "ce_weight", "feature_weight")

    def adapters(self, student: Shapes, teacher: Shapes, images: int) -> "nn.Module":
        """Nothing is learned: attention has no channels."""
        from torch import nn

        require_maps(student, teacher)
        return nn.Module()

    def terms(
        self, student: "Outputs", teacher: "Outputs", batch: "Batch", adapters: "nn.Module"
    ) -> "dict[str, Tensor]":
        """CE, and the mean squared difference of the attention of both (B, height x width), summed over layers."""
        import torch
        from torch.nn import functional as F

        sized = [at_one_size(*pair) for pair in pairs(student, teacher)]
        losses = [F.mse_loss(self._attention(mine), self._attention(theirs)) for mine, theirs in sized]
        return {
            "ce": self.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "attention": self.feature_weight * torch.stack(losses).sum(),
        }

    def _attention(self, maps: "Tensor") -> "Tensor":
        """Maps (B, channels, height, width) -> (B, height x width): mean of |x|^p over channels, of length one."""
        from torch.nn.functional import normalize

        return normalize(maps.abs().pow(self.power).mean(dim=1).flatten(1))
