"""Stages of a made-up plan: a name, what they read, and nothing to run.

Lives here: `Toy` and its kinds, `plan`. Must not: tests.
"""

import hashlib
from collections.abc import Sequence

from harness.plan import Step
from harness.spec import Stage


class Toy(Stage):
    """A stage with a key of its own; its class is its kind."""

    ranks = "all"

    def __init__(self, label: str, *reads: Stage) -> None:
        self.label, self._reads = label, list(reads)
        self.__dict__["key"] = hashlib.sha256(label.encode()).hexdigest()

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def inputs(self) -> list[Stage]:
        return self._reads


class Prepare(Toy):
    """Long, on one rank, without a GPU."""

    ranks = "one"
    computes = False


class Train(Toy):
    """Long, on all ranks."""


class Score(Toy):
    """Short, on one rank with a GPU: what pruning before training does."""

    ranks = "one"
    short = True


class Derive(Toy):
    """Short, on one rank without a GPU: what makes a student does."""

    ranks = "one"
    short = True
    computes = False


class Evaluate(Toy):
    """Short, on all ranks."""

    short = True


KINDS = (Prepare, Train, Score, Derive, Evaluate)


def plan(*stages: Toy, done: Sequence[Toy] = ()) -> list[Step]:
    """Steps in the given order, inputs before users."""
    return [Step(stage, stage in done, stage.label) for stage in stages]
