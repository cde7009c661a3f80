"""Stage `smoothing`: how much of what pruning did to a teacher's predictions is label smoothing.

Lives here: the stage. Must not: the sums (`harness.softness`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.data.augment import Augment
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare


@dataclass(frozen=True, kw_only=True)
class Smoothing(Stage):
    """Compares a teacher with the dense one where students meet them, at temperatures 1 and 10."""

    temperatures: ClassVar[tuple[int, ...]] = (1, 10)

    network: Stage
    dense: Stage
    data: Prepare
    augment: Augment
    """Of the students."""
    seed: int
    """Of the students: it decides their stream."""
    batch: int = 100

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.softness import UniformStep
        from harness.stages._pairs import paired_predictions

        steps = {temperature: UniformStep(temperature, context.device) for temperature in self.temperatures}
        for dense, its in paired_predictions(self, self.dense, self.network, inputs, context):
            for step in steps.values():
                step.see(dense, its)
        return {
            "smoothing": {str(temperature): round(step.smoothing, 6) for temperature, step in steps.items()},
            "share": {str(temperature): round(step.share, 6) for temperature, step in steps.items()},
        }
