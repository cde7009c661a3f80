"""What a loss that remembers has to know of the training it takes part in.

Lives here: `Course`, and `Ranks`, how it reaches what other ranks remember. Must not: process groups
(`harness.engine.group`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from harness.recipe import Recipe


def _alone(values: Tensor) -> Tensor:
    return values[None]


def _nothing(values: Tensor) -> None:
    """Nobody else has anything to add."""


@dataclass(frozen=True)
class Ranks:
    """This rank among the others; alone unless something else is said."""

    rank: int = 0
    world: int = 1
    gather: Callable[[Tensor], Tensor] = _alone
    """Makes [world, ...] of the tensors of all ranks, which have one shape."""
    add: Callable[[Tensor], None] = _nothing
    """Makes a tensor, in place, the sum of all ranks'."""


@dataclass(frozen=True)
class Course:
    """A training: its recipe, the number of training images, the outputs of the network, and the ranks."""

    recipe: Recipe
    images: int
    classes: int
    ranks: Ranks = Ranks()
