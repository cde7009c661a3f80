"""The images on which a pruning stage scores its network.

Lives here: `ScoringBatches`. Must not: criteria.
"""

import dataclasses
import itertools
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType

from harness.batch import Batch
from harness.context import Context
from harness.data.prepared import Prepared
from harness.stages._fit import Training
from harness.topology import Topology


class ScoringBatches:
    """The stage's training images in batches of `batch_per_gpu`, endless and the same on every rank.

    They are those of epoch `first` and the next ones. Nothing is opened before the first is asked for; use it in a
    `with` statement, which closes what was.
    """

    def __init__(self, stage: Training, inputs: Mapping[str, Path], context: Context, first: int = 0) -> None:
        self.images = 0
        """How many were given so far."""
        self._batches = self._endless(stage, inputs, context, first)

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
        self, stage: Training, inputs: Mapping[str, Path], context: Context, first: int
    ) -> Generator[Batch, None, None]:
        recipe = dataclasses.replace(stage.recipe, global_batch=stage.recipe.batch_per_gpu)
        alone = dataclasses.replace(context, topology=Topology())
        stream = Prepared(inputs[stage.data.key]).train_stream(recipe, stage.seed, alone)
        for epoch in itertools.count(first):
            with closing(stream.epoch(epoch)) as batches:
                yield from batches
