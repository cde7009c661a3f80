"""A batch's loss that is looked at twice: for its gradient, and later for its curvature.

Lives here: `evaluate`, the `Evaluation` it leaves, and the `Draws` of one. Must not: formulas of criteria.

Both looks have to be at the same function. So what the objective takes as given is asked for once, and what the network
draws (dropout) is drawn again. Between them only the weights are kept, and no graph: the peak of memory is one double
backward.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.batch import Batch
from harness.contracts import Forward, Given, Objective
from harness.gradients import Weights, gradient, hessian_vector_product
from harness.objective import total


class Draws:
    """The states of torch's generators, from which the same numbers come again."""

    def __init__(self, device: torch.device) -> None:
        """Those of now: the CPU's, and that of `device` if it is a GPU."""
        self.devices = [device] if device.type == "cuda" else []
        self.on_cpu, self.on_devices = torch.get_rng_state(), [torch.cuda.get_rng_state(d) for d in self.devices]

    @contextmanager
    def again(self) -> Iterator[None]:
        """The generators begin where they were; afterwards they go on as if nothing had been drawn."""
        with torch.random.fork_rng(self.devices):
            torch.set_rng_state(self.on_cpu)
            for device, state in zip(self.devices, self.on_devices, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield


@dataclass(frozen=True)
class Evaluation:
    """What it takes to evaluate a batch's loss once more."""

    network: Callable[[Weights], Forward]
    objective: Objective
    batch: Batch
    weights: Weights
    given: Given
    draws: Draws

    def loss(self, weights: Weights) -> Tensor:
        """The scalar loss at `weights`, with the draws that come."""
        return total(self.objective.terms(self.network(weights), self.batch, self.given))

    def hessian_product(self, vector: Weights) -> Weights:
        """H v, H the Hessian of the loss where it was evaluated, with the same draws."""
        with self.draws.again():
            return hessian_vector_product(self.loss, self.weights, vector)


def evaluate(
    network: Callable[[Weights], Forward], objective: Objective, batch: Batch, weights: Weights
) -> tuple[Evaluation, Weights]:
    """The gradient of a batch's loss with respect to `weights`, and the evaluation it comes from."""
    given = objective.given(network(weights), batch)
    evaluation = Evaluation(network, objective, batch, weights, given, Draws(batch.images.device))
    return evaluation, gradient(evaluation.loss, weights)
