"""Relational distillation: distances and angles between the images of a batch.

Lives here: the method `RelationalKD`. Must not: how features are tapped (`harness.taps`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_not_negative
from harness.distillation._layers import Shapes, require_one
from harness.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.taps import Outputs


@dataclass(frozen=True, kw_only=True)
class RelationalKD:
    """Park et al. (CVPR 2019), distances and angles. The defaults are those for classification (CIFAR-100).

    The embedding is what a `models.resnet` hands to its classifier. Angles take time and memory as (batch_per_gpu)^3.
    """

    student_layers: tuple[str, ...] = ("avgpool",)
    teacher_layers: tuple[str, ...] = ("avgpool",)
    ce_weight: float = 1.0
    distance_weight: float = 25.0
    angle_weight: float = 50.0

    def __post_init__(self) -> None:
        require_one(self.student_layers)
        require_one(self.teacher_layers)
        require_not_negative(self, "ce_weight", "distance_weight", "angle_weight")

    def adapters(self, student: Shapes, teacher: Shapes, images: int) -> "nn.Module":
        """Nothing is learned: relations have no dimension."""
        from torch import nn

        return nn.Module()

    def terms(
        self, student: "Outputs", teacher: "Outputs", batch: "Batch", adapters: "nn.Module"
    ) -> "dict[str, Tensor]":
        """CE, and Huber's loss of all distances (B, B) and of all cosines of angles (B, B, B), each a mean.

        A distance counts in units of the batch's mean distance; the cosine at i, j, k is that of the angle at image i.
        Raises StageError for a batch of one image.
        """
        from torch.nn import functional as F

        if len(batch.labels) < 2:
            raise StageError("RelationalKD compares the images of a batch and got one: give batch_per_gpu 2 or more")
        mine, theirs = (
            _differences(outputs.features[layer].flatten(1))
            for outputs, (layer,) in ((student, self.student_layers), (teacher, self.teacher_layers))
        )
        return {
            "ce": self.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "distance": self.distance_weight * F.smooth_l1_loss(_distances(mine), _distances(theirs)),
            "angle": self.angle_weight * F.smooth_l1_loss(_cosines(mine), _cosines(theirs)),
        }


def _differences(embeddings: "Tensor") -> "Tensor":
    """[n, size] -> [n, n, size]: from image i to image j."""
    return embeddings[None] - embeddings[:, None]


def _distances(differences: "Tensor") -> "Tensor":
    """[n, n]: Euclidean, divided by the mean over different images."""
    import torch

    count = len(differences)
    squares = differences.square().sum(dim=2).clamp(min=1e-12)  # a root has no slope at zero
    distances = squares.sqrt() * (1 - torch.eye(count).to(squares))
    return distances * (count * (count - 1)) / distances.sum()


def _cosines(differences: "Tensor") -> "Tensor":
    """[n, n, n]: of the angle at image i between the directions to j and to k."""
    from torch.nn.functional import normalize

    directions = normalize(differences, dim=2)
    return directions @ directions.transpose(1, 2)
