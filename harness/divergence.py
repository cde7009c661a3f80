"""The distance of two softened outputs.

Lives here: `softened_kl`. Must not: weights, and what is compared.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def softened_kl(student_logits: "Tensor", teacher_logits: "Tensor", temperature: float) -> "Tensor":
    """KL(softmax(t / T) || softmax(s / T)) of logits s and t (B, classes), mean over the batch; not times T^2."""
    from torch.nn import functional as F

    return F.kl_div(
        F.log_softmax(student_logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
