"""ProsPr: weights that the loss after a few steps of training is not sensitive to matter least.

Lives here: the criterion `ProsPr`. Must not: thresholds and masks (`harness.pruning`).
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.choices import require_choices, require_not_negative, require_positive
from harness.criteria._batches import take_exactly

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch
    from harness.contracts import Objective
    from harness.criteria._evaluation import Evaluation
    from harness.gradients import Weights


@dataclass(frozen=True, kw_only=True)
class ProsPr:
    """|dL(w_K)/dm| at m = 1, divided by its sum over all weights (Alizadeh et al., ICLR 2022).

    m multiplies the weights once, w_0 = m w; then K steps of plain SGD, w_k+1 = w_k - inner_lr dL_k/dw(w_k), move all
    parameters, biases, BatchNorm's and pruned ones too, and L is the loss after them. Without a step it is `Snip`.

    With a loss of self-distillation this is the criterion of EPSD (Chen et al., AAAI 2024), with cross-entropy that of
    ProsPr. How EPSD sets the four fields is not established: these values, ProsPr's, are a proposal of ours.

    What the network says to itself (of CS-KD's mates; in the past, for PS-KD and DLB) is a constant in every step, for
    the way back through the steps too.

    For a network at its initialisation: it runs in training mode. What an objective remembers goes on from step to
    step, so it should be one of its own; what it learns beside the network stays as it is. dL/dm goes back through the
    steps one at a time: memory is that of one double backward, and a copy of the weights for every step.
    """

    inner_steps: int = 3
    inner_lr: float = 0.1
    inner_batch: Literal["same", "new"] = "same"
    """All steps and the loss after them see one batch, or each its own."""
    gradient: Literal["full", "first_order"] = "full"
    """Through the steps, or as if they moved every weight by something that does not depend on m."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_not_negative(self, "inner_steps")
        require_positive(self, "inner_lr")

    def score(self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective") -> "dict[str, Tensor]":
        """A score per prunable weight, in its shape; the lowest go first, and all sum to 1.

        Raises StageError if there are too few batches, or if the loss depends on no weight.
        """
        from harness.criteria._sensitivity import sizes

        return sizes(self.sensitivities(model, batches, objective))

    def sensitivities(
        self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective"
    ) -> "dict[str, Tensor]":
        """dL(w_K)/dm for every prunable weight, in its shape."""
        from harness.criteria._sensitivity import derivatives
        from harness.gradients import in_mode
        from harness.pruning.mask import prunable

        with in_mode(model, training=True):
            steps, gradient = self._descend(model, batches, objective)
            steps.pop()  # dL(w_K)/dw_K is all that is needed of the last one
            while steps and self.gradient == "full":  # dL(w_K)/dw_k = (1 - inner_lr H_k) dL(w_K)/dw_k+1
                gradient = self._moved(gradient, steps.pop().hessian_product(gradient))
        return derivatives(prunable(model), gradient)

    def after_inner_steps(
        self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective"
    ) -> "dict[str, Tensor]":
        """All parameters after the inner steps, w_K, for a training that starts there; `model` stays where it is."""
        from harness.gradients import in_mode

        with in_mode(model, training=True):
            steps, _ = self._descend(model, batches, objective)
        return steps[-1].weights

    def _batches(self, batches: "Iterable[Batch]", objective: "Objective") -> "list[Batch]":
        """One for each step and one for the loss after them."""
        if self.inner_batch == "new":
            return take_exactly(batches, self.inner_steps + 1)
        if objective.mates != "previous":
            return take_exactly(batches, 1) * (self.inner_steps + 1)
        first, second = take_exactly(batches, 2)  # the mates of the second are the first in another view
        return [first] + [dataclasses.replace(first, mates=second.mates)] * self.inner_steps

    def _descend(
        self, model: "nn.Module", batches: "Iterable[Batch]", objective: "Objective"
    ) -> "tuple[list[Evaluation], Weights]":
        """The evaluations at w_0 .. w_K, and the gradient of the last one."""
        from functools import partial

        from harness.criteria._evaluation import evaluate
        from harness.gradients import network_at

        weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
        first, *others = self._batches(batches, objective)
        step, gradient = evaluate(partial(network_at, model), objective, first, weights)
        steps = [step]
        for batch in others:
            objective.end_step()
            weights = self._moved(weights, gradient)
            step, gradient = evaluate(partial(network_at, model), objective, batch, weights)
            steps.append(step)
        return steps, gradient

    def _moved(self, values: "Weights", direction: "Weights") -> "Weights":
        return {name: value - self.inner_lr * direction[name] for name, value in values.items()}
