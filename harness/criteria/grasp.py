"""GraSP: weights whose removal leaves the most gradient flow matter least.

Lives here: the criterion `GraSP`. Must not: thresholds and masks (`harness.pruning`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.choices import require_positive
from harness.criteria._batches import require_positive as require_batches
from harness.criteria._batches import take

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.contracts import Forward, Objective
    from harness.gradients import Weights


@dataclass(frozen=True, kw_only=True)
class GraSP:
    """w Hg, g the gradient and H the Hessian of the loss, summed over the batches (Wang et al., ICLR 2020).

    To first order, removing a weight changes |g|^2 by -2 w Hg. The authors call -w Hg the score and remove the largest,
    those without which the gradient flow is strongest; here the lowest w Hg go. Both are taken with respect to the
    prunable weights, with the logits divided by a temperature, at an initialisation and so in training mode. The
    authors draw as many images of each class, 10 of CIFAR's; here they are batches of the training stream: 10 of 128
    hold about 128 images of each class of CIFAR-10, 13 of CIFAR-100 and one of ImageNet.
    """

    batches: int = 10
    """Training batches to look at, all in memory at once, with what the objective takes as given: 10 of 128 images of
    32 pixels are 16 MB, 10 of 32 of 224 pixels 193 MB."""
    temperature: float = 200.0

    def __post_init__(self) -> None:
        require_batches(self.batches)
        require_positive(self, "temperature")

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective") -> "dict[str, Tensor]":
        """A score per prunable weight, in its shape, of either sign; the lowest go first.

        Raises StageError without a batch.
        """
        from harness.criteria._evaluation import evaluate
        from harness.gradients import in_mode, network_at
        from harness.pruning.mask import prunable

        def tempered(weights: "Weights") -> "Forward":
            network = network_at(model, weights)
            return lambda images: network(images) / self.temperature

        weights = {name: weight.detach() for name, weight in prunable(model).items()}
        with in_mode(model, training=True):
            evaluations, gradient = [], _zeros(weights)
            for batch in take(batches, self.batches):
                evaluation, addend = evaluate(tempered, objective, batch, weights)
                evaluations.append(evaluation)
                _add(gradient, addend)
            product = _zeros(weights)
            for evaluation in evaluations:
                _add(product, evaluation.hessian_product(gradient))
        return {name: weight * product[name] for name, weight in weights.items()}


def _zeros(weights: "Weights") -> "Weights":
    return {name: weight.new_zeros(weight.shape) for name, weight in weights.items()}


def _add(total: "Weights", addend: "Weights") -> None:
    for name, tensor in addend.items():
        total[name] += tensor
