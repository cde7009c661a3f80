"""PS-KD: labels are softened by what the network said of the same image an epoch ago, more and more.

Lives here: the method `PSKD`. Must not: the memory (`_history`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from harness.choices import require_share

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch, Mates
    from harness.contracts import Forward, Given
    from harness.course import Course
    from harness.self_distillation._history import History


@dataclass(frozen=True, kw_only=True)
class PSKD:
    """Kim, Ji, Yoon & Hwang (ICCV 2021): cross-entropy with (1 - a) one-hot(y) + a p, p from the epoch before.

    a = alpha (t + 1) / epochs in epoch t, counted from 0. p is what was predicted when the image was seen last, in an
    earlier epoch if the one before left it out; an image that was never seen has its label alone. The default is the
    paper's. Predictions are kept in half precision, spread over the ranks.
    """

    mates: ClassVar["Mates"] = "none"

    alpha: float = 0.8
    """Weight of the prediction in the last epoch."""

    def __post_init__(self) -> None:
        require_share(self, "alpha")

    def beside(self, network: "nn.Module", course: "Course") -> "History":
        """What was predicted for each image the last time."""
        from harness.self_distillation._history import History

        return History(course)

    def bytes_an_image(self, classes: int) -> int:
        """Two for each class: 2.6 GB for all of ImageNet."""
        return 2 * classes

    def given(self, network: "Forward", batch: "Batch", beside: "nn.Module | None") -> "Tensor":
        """The last prediction for each image (B, classes); zeros where there is none."""
        return cast("History", beside).rows(batch.indices)

    def terms(
        self, network: "Forward", batch: "Batch", given: "Given", beside: "nn.Module | None"
    ) -> "dict[str, Tensor]":
        """Cross-entropy with the softened labels, mean over B; notes the predictions (B, classes)."""
        from torch.nn import functional as F

        history = cast("History", beside)
        logits = network(batch.images)
        history.note(batch.indices, logits.detach().softmax(dim=1))
        past = given.to(logits.dtype)
        seen = past.any(dim=1, keepdim=True).to(logits.dtype)
        share = self.alpha * min(1.0, (batch.epoch + 1) / history.epochs) * seen  # weights may be scored for longer
        targets = (1 - share) * F.one_hot(batch.labels, logits.shape[1]) + share * past
        return {"ce": F.cross_entropy(logits, targets)}
