"""Logits split at the target, the label's class.

Lives here: `without_target`. Must not: losses.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def without_target(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Logits [n, classes] without each row's target -> [n, classes - 1], in order."""
    import torch

    others = torch.arange(logits.shape[1] - 1, device=logits.device).expand(len(logits), -1)
    return logits.gather(1, others + (others >= labels[:, None]))
