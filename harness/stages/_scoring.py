"""The images on which a pruning stage scores its network, and the loss by which a fresh one is scored.

Lives here: `ScoringBatches`, `early_batches`, `scored`. Must not: criteria.
"""

import copy
import dataclasses
import itertools
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch
from torch import nn

from harness.batch import Batch, Mates
from harness.context import Context
from harness.contracts import Model, Objective, SelfDistillation
from harness.course import Course
from harness.data.augment import Augment
from harness.data.prepared import Prepared
from harness.objective import CrossEntropy, SelfDistilled
from harness.recipe import Recipe
from harness.self_distillation.ps_kd import PSKD
from harness.stages.prepare import Prepare
from harness.topology import Topology


class Scoring(Protocol):
    """A stage that scores."""

    @property
    def data(self) -> Prepare: ...
    @property
    def seed(self) -> int: ...


class EarlyScoring(Scoring, Protocol):
    """One that scores a fresh network, and so has no recipe of its own."""

    @property
    def network(self) -> Model: ...
    @property
    def method(self) -> SelfDistillation | None: ...
    @property
    def alpha_at_score(self) -> float: ...
    @property
    def augment(self) -> Augment: ...
    @property
    def batch(self) -> int: ...


class ScoringBatches:
    """A stage's training images in batches of the recipe's `batch_per_gpu`, endless and the same on every rank.

    They are those of epoch `first` and the next ones. Nothing is opened before the first is asked for; use it in a
    `with` statement, which closes what was.
    """

    def __init__(
        self,
        stage: Scoring,
        recipe: Recipe,
        inputs: Mapping[str, Path],
        context: Context,
        *,
        first: int = 0,
        mates: Mates = "none",
    ) -> None:
        self.images = 0
        """How many were given so far."""
        self._batches = self._endless(stage, recipe, inputs, context, first, mates)

    def __enter__(self) -> "ScoringBatches":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batches.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = next(self._batches)
        self.images += len(batch.labels)
        return batch

    def _endless(
        self, stage: Scoring, recipe: Recipe, inputs: Mapping[str, Path], context: Context, first: int, mates: Mates
    ) -> Generator[Batch, None, None]:
        recipe = dataclasses.replace(recipe, global_batch=recipe.batch_per_gpu)
        alone = dataclasses.replace(context, topology=Topology())
        stream = Prepared(inputs[stage.data.key]).train_stream(recipe, stage.seed, alone, mates)
        for epoch in itertools.count(first):
            with closing(stream.epoch(epoch)) as batches:
                yield from batches


def early_batches(
    stage: EarlyScoring, inputs: Mapping[str, Path], context: Context, mates: Mates = "none"
) -> ScoringBatches:
    """The images on which a fresh network is scored: the first of its seed's stream."""
    return ScoringBatches(stage, _early_recipe(stage), inputs, context, mates=mates)


def scored(
    stage: EarlyScoring, network: nn.Module, inputs: Mapping[str, Path], context: Context
) -> tuple[nn.Module, Objective]:
    """A copy of a fresh network and the loss that says which of its weights matter, both to be thrown away.

    The loss remembers nothing yet, and its method may leave hooks on the copy. To a self-distillation method scoring is
    a course of one epoch on one rank.
    """
    subject, method = copy.deepcopy(network), stage.method
    if method is None:
        return subject, CrossEntropy()
    if isinstance(method, PSKD):
        method = dataclasses.replace(method, alpha=stage.alpha_at_score)
    torch.manual_seed(stage.seed)  # or what a method begins with would depend on what was drawn before
    images = Prepared(inputs[stage.data.key]).facts.images["train"]
    objective = SelfDistilled(method, subject, Course(_early_recipe(stage), images, stage.network.classes))
    if objective.learned is not None:
        objective.learned.to(context.device)
    return subject, objective


def _early_recipe(stage: EarlyScoring) -> Recipe:
    return Recipe(epochs=1, augment=stage.augment, global_batch=stage.batch, batch_per_gpu=stage.batch)
