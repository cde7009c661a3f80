"""Label smoothing, as a method among the others.

Lives here: the method `LabelSmoothing`. Must not: smoothing under another loss (`Recipe.label_smoothing`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.choices import require_share

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch, Mates
    from harness.contracts import Forward, Given
    from harness.course import Course


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing:
    """Szegedy et al. (CVPR 2016): cross-entropy with (1 - s) one-hot(y) + s / K. The default is theirs for ImageNet.

    The plain end of self-distillation: what others learn from themselves beside the label is here the same for all.
    """

    mates: ClassVar["Mates"] = "none"

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        require_share(self, "smoothing")

    def beside(self, network: "nn.Module", course: "Course") -> None:
        """Nothing is remembered."""

    def given(self, network: "Forward", batch: "Batch", beside: "nn.Module | None") -> None:
        """Labels are enough."""

    def terms(
        self, network: "Forward", batch: "Batch", given: "Given", beside: "nn.Module | None"
    ) -> "dict[str, Tensor]":
        """Cross-entropy with the smoothed labels, mean over B."""
        from torch.nn import functional as F

        return {"ce": F.cross_entropy(network(batch.images), batch.labels, label_smoothing=self.smoothing)}
