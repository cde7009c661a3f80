"""Stage `train`: a network from scratch on labels alone.

Lives here: the stage. Must not: the loop (`harness.loop`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.contracts import Model
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare
from harness.stages.student import Student


@dataclass(frozen=True, kw_only=True)
class Train(Stage):
    """A dense network, initialised and trained under `seed`; the recipe says which epoch is kept."""

    version: ClassVar[int] = 2  # running statistics move once a step, not once a micro-batch
    ranks: ClassVar[str] = "all"

    network: Model | Student
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.objective import CrossEntropy
        from harness.stages._fit import architecture_of, fit

        torch.manual_seed(self.seed)
        architecture = architecture_of(self.network, inputs)
        network = architecture.build(self.recipe.augment.size)
        return fit(self, architecture, network, CrossEntropy(self.recipe.label_smoothing), inputs, context)
