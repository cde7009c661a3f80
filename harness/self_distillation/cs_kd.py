"""CS-KD: two images of one class should be told apart from the rest alike.

Lives here: the method `CSKD`. Must not: the draw of the second image (`harness.data`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.choices import require_not_negative, require_positive
from harness.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch, Mates
    from harness.contracts import Forward, Given
    from harness.course import Course


@dataclass(frozen=True, kw_only=True)
class CSKD:
    """CE(z, y) + weight T^2 KL(softmax(z'/T) || softmax(z/T)) (Yun, Park, Lee & Shin, CVPR 2020, equation 2).

    z' are the logits for another image of the class, at the same weights and without gradients, in training mode: they
    move BatchNorm's running statistics too, here before the images' own instead of after. The second image is never
    the first one, unless its class has no other; the authors' code may draw it. The defaults are those for CIFAR-100;
    for CUB-200-2011 the authors give a weight of 3.
    """

    mates: ClassVar["Mates"] = "class"

    temperature: float = 4.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "temperature")
        require_not_negative(self, "weight")

    def beside(self, network: "nn.Module", course: "Course") -> None:
        """Nothing is remembered."""

    def given(self, network: "Forward", batch: "Batch", beside: "nn.Module | None") -> "Tensor":
        """Logits (B, classes) for the mates."""
        if batch.mates is None:
            raise StageError("a batch came without second images of its classes: CS-KD needs them")
        return network(batch.mates.images)

    def terms(
        self, network: "Forward", batch: "Batch", given: "Given", beside: "nn.Module | None"
    ) -> "dict[str, Tensor]":
        """Cross-entropy, and the weighted divergence from the mates' predictions, means over B."""
        from torch.nn import functional as F

        from harness.divergence import softened_kl

        logits = network(batch.images)
        return {
            "ce": F.cross_entropy(logits, batch.labels),
            "mates": self.weight * self.temperature**2 * softened_kl(logits, given, self.temperature),
        }
