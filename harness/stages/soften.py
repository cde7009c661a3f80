"""Stage `soften`: a dense teacher whose predictions are made as soft as another's.

Lives here: the stage. Must not: the arithmetic (`harness.softness`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.choices import require_choices
from harness.context import Context
from harness.data.augment import Augment
from harness.errors import UserError
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare


@dataclass(frozen=True, kw_only=True)
class Soften(Stage):
    """Controls for "a pruned teacher only is a softer one": same guesses as `network`, softness of `like`.

    `uniform` mixes in the uniform distribution, as much as fits the difference between the two best (0 where `like` is
    the sharper one); `temperature` divides the logits so that the mean entropies are equal. Both where students meet
    them: on the first epoch of their stream, at the distillation's `temperature`.
    """

    network: Stage
    like: Stage
    by: Literal["uniform", "temperature"]
    temperature: float
    data: Prepare
    augment: Augment
    """Of the students."""
    seed: int
    """Of the students: it decides their stream."""
    batch: int = 100

    def __post_init__(self) -> None:
        require_choices(self)
        if isinstance(self.network, Soften):
            raise UserError("a softened network is not softened again: give the one it was made of")

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.network import read_architecture, read_network, write_weights
        from harness.softness import EntropyMatch, Softened, UniformStep
        from harness.stages._pairs import paired_predictions

        match = (UniformStep if self.by == "uniform" else EntropyMatch)(self.temperature, context.device)
        images = 0
        for logits, like in paired_predictions(self, self.network, self.like, inputs, context):
            match.see(logits, like)
            images += len(logits)
        softness = {"divisor": 1.0, "smoothing": 0.0, "temperature": self.temperature}
        if isinstance(match, UniformStep):
            softness["smoothing"] = round(min(max(match.smoothing, 0.0), 0.999), 6)
        else:
            softness["divisor"] = round(match.divisor, 6)
        folder = inputs[self.network.key]
        replace(read_architecture(folder), softness=softness).write(context.folder)
        write_weights(Softened(read_network(folder, self.augment.size), **softness), context.folder)
        return {**softness, "image_passes": 2 * images}
