"""The images on which a pruning stage scores its network.

Lives here: `scoring_batches`. Must not: criteria.
"""

import dataclasses
import itertools
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path

from harness.batch import Batch
from harness.context import Context
from harness.data.prepared import Prepared
from harness.stages._fit import Training
from harness.topology import Topology


def scoring_batches(stage: Training, inputs: Mapping[str, Path], context: Context) -> Generator[Batch, None, None]:
    """The stage's training images in batches of `batch_per_gpu`, endless and the same on every rank.

    Nothing is opened before the first one is asked for.
    """
    recipe = dataclasses.replace(stage.recipe, global_batch=stage.recipe.batch_per_gpu)
    alone = dataclasses.replace(context, topology=Topology())
    stream = Prepared(inputs[stage.data.key]).train_stream(recipe, stage.seed, alone)
    for epoch in itertools.count():
        with closing(stream.epoch(epoch)) as batches:
            yield from batches
