"""Teacher-free knowledge distillation: a teacher made by hand, which is always right.

Lives here: the method `TeacherFreeKD`. Must not: networks as teachers (`harness.distillation`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.choices import require_positive, require_share

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch, Mates
    from harness.contracts import Forward, Given
    from harness.course import Course


@dataclass(frozen=True, kw_only=True)
class TeacherFreeKD:
    """(1 - w) CE(z, y) + w KL(softmax(u / T) || softmax(z)): Tf-KD_reg of Yuan et al. (CVPR 2020).

    The virtual teacher u gives the label `probability` and shares the rest among the other K - 1 classes. This is the
    reading of the official code: u itself, not its logarithm, is softened, and the network's own prediction is not;
    nothing is multiplied by T^2. The code multiplies its KL by 100 and divides it by K besides the batch: for CIFAR-100
    that comes to this, for other K its factor is 100 / K of ours. The defaults are the code's for ResNet-18 on
    CIFAR-100; for other networks it has others.
    """

    mates: ClassVar["Mates"] = "none"

    probability: float = 0.99
    temperature: float = 20.0
    weight: float = 0.1
    """Of the virtual teacher; the labels have the rest."""

    def __post_init__(self) -> None:
        require_positive(self, "temperature")
        require_share(self, "probability", "weight")

    def beside(self, network: "nn.Module", course: "Course") -> None:
        """Nothing is remembered."""

    def given(self, network: "Forward", batch: "Batch", beside: "nn.Module | None") -> None:
        """Labels are enough."""

    def terms(
        self, network: "Forward", batch: "Batch", given: "Given", beside: "nn.Module | None"
    ) -> "dict[str, Tensor]":
        """The weighted cross-entropy, and the weighted divergence from the virtual teacher, means over B."""
        import torch
        from torch.nn import functional as F

        from harness.divergence import softened_kl

        logits = network(batch.images)
        virtual = torch.full_like(logits, (1 - self.probability) / (logits.shape[1] - 1))
        virtual.scatter_(1, batch.labels[:, None], self.probability)
        return {
            "ce": (1 - self.weight) * F.cross_entropy(logits, batch.labels),
            "virtual": self.weight * softened_kl(logits, virtual / self.temperature, temperature=1),
        }
