"""Confidence: weights that do not spread a network's confidence in the true class matter least.

Lives here: the criterion `Confidence`. Must not: thresholds and masks (`harness.pruning`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.criteria._batches import require_positive, take

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.contracts import Forward, Objective


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """|dS/dm| at m = 1, S = sum over images i of |p_i - mean of p over i's class| (PrUE: Wang et al., ECML-PKDD 2022).

    p_i is the softmax probability of i's true class, m multiplies the weight, so dS/dm = w dS/dw. For a trained
    network, to make a less certain teacher of it: in evaluation mode, class means taken first and held constant.
    Formula and direction (weights with the least influence on the spread go first) are those of the authors' code.
    There S and the means go through the whole training set, in two draws of the augmentation, and the convolutions
    alone are pruned; here through the same `batches` twice. An image alone of its class among them adds nothing.
    """

    batches: int = 32
    """Training batches to look at, all in memory at once: 32 of 256 images of 224 pixels are 4.9 GB."""

    def __post_init__(self) -> None:
        require_positive(self.batches)

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective") -> "dict[str, Tensor]":
        """A score per prunable weight, in its shape; the lowest go first. Needs no `objective`.

        Raises StageError without a batch.
        """
        from harness.gradients import summed_gradients
        from harness.pruning.mask import prunable

        taken = list(take(batches, self.batches))
        means, counts = _class_means(model, taken)

        def spread(network: "Forward", batch: "Batch") -> "Tensor":
            distance = (_confidences(network(batch.images), batch) - means[batch.labels]).abs()
            return distance[counts[batch.labels] > 1].sum()

        gradients = summed_gradients(model, taken, spread, training=False)
        return {name: (weight.detach() * gradients[name]).abs() for name, weight in prunable(model).items()}


def _confidences(logits: "Tensor", batch: "Batch") -> "Tensor":
    """The probability (n,) of each image's true class."""
    return logits.softmax(1).gather(1, batch.labels[:, None]).squeeze(1)


def _class_means(model: "nn.Module", batches: "list[Batch]") -> "tuple[Tensor, Tensor]":
    """The mean confidence (classes,) in the images of each class, and how many they are."""
    import torch

    from harness.gradients import in_mode

    with torch.no_grad(), in_mode(model, training=False):
        logits = [model(batch.images) for batch in batches]
    labels = torch.cat([batch.labels for batch in batches]).cpu()  # on a GPU the order of the additions is not fixed
    confidences = torch.cat([_confidences(*pair) for pair in zip(logits, batches, strict=True)]).cpu().double()
    counts = labels.bincount(minlength=logits[0].shape[1])
    means = labels.bincount(confidences, minlength=len(counts)) / counts
    return means.to(logits[0]), counts.to(logits[0].device)
