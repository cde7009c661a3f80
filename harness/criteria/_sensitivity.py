"""Connection sensitivities: what the loss does as a weight fades.

Lives here: derivatives by a mask, and the scores that are their sizes. Must not: where the gradients come from.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor


def derivatives(weights: "Mapping[str, Tensor]", gradients: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """dL/dm at m = 1 where m multiplies the weight: w g for every weight w and its gradient g of `gradients`."""
    return {name: weight.detach() * gradients[name] for name, weight in weights.items()}


def sizes(found: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The size of every derivative, divided by the sum of all, in fp32. Raises StageError if all are 0."""
    scores = {name: derivative.abs() for name, derivative in found.items()}
    total = sum(float(score.double().sum()) for score in scores.values())
    if total == 0:
        raise StageError("the loss depends on no weight, so no score can tell them apart: is a layer all zeros?")
    return {name: (score.double() / total).float() for name, score in scores.items()}
