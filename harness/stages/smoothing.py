"""Stage `smoothing`: how much of what pruning did to a teacher's predictions is label smoothing.

Lives here: the stage. Must not: the sums (`harness.softness`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare


@dataclass(frozen=True, kw_only=True)
class Smoothing(Stage):
    """Compares a teacher with the dense one on clean crops of every training image, at temperatures 1 and 10."""

    ranks: ClassVar[str] = "all"
    temperatures: ClassVar[tuple[int, ...]] = (1, 10)

    network: Stage
    dense: Stage
    data: Prepare
    size: int
    resize_ratio: float = 1.0
    batch: int = 100

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.engine.group import add_over_ranks
        from harness.softness import UniformStep
        from harness.stages._pairs import paired_predictions

        steps = {temperature: UniformStep(temperature, context.device) for temperature in self.temperatures}
        for theirs, its, _ in paired_predictions(self, self.dense, self.network, inputs, context):
            for step in steps.values():
                step.see(theirs, its)
        for step in steps.values():
            add_over_ranks(step.sums)
        return {
            "smoothing": {str(temperature): round(step.smoothing, 6) for temperature, step in steps.items()},
            "share": {str(temperature): round(step.share, 6) for temperature, step in steps.items()},
        }
