"""Stage `soften`: a dense teacher whose predictions are made as soft as another's.

Lives here: the stage. Must not: the arithmetic (`harness.softness`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from harness.choices import require_choices
from harness.context import Context
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare


@dataclass(frozen=True, kw_only=True)
class Soften(Stage):
    """Controls for "a pruned teacher only is a softer one": same guesses as `network`, softness of `like`.

    `uniform` mixes in the uniform distribution, as much as fits the difference between the two best (0 where `like` is
    the sharper one); `temperature` divides the logits so that the mean entropies are equal. Both on clean crops of
    every training image, at the distillation's `temperature`.
    """

    ranks: ClassVar[str] = "all"

    network: Stage
    like: Stage
    by: Literal["uniform", "temperature"]
    temperature: float
    data: Prepare
    size: int
    resize_ratio: float = 1.0
    batch: int = 100

    def __post_init__(self) -> None:
        require_choices(self)

    @property
    def seed(self) -> int | None:
        """Of the network that is softened."""
        return getattr(self.network, "seed", None)

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.data.prepared import Prepared
        from harness.engine.group import add_over_ranks
        from harness.network import read_architecture, read_network, write_weights
        from harness.softness import EntropyMatch, Softened, UniformStep
        from harness.stages._pairs import paired_predictions

        match = (UniformStep if self.by == "uniform" else EntropyMatch)(self.temperature, context.device)
        for logits, like, _ in paired_predictions(self, self.network, self.like, inputs, context):
            match.see(logits, like)
        add_over_ranks(match.sums)
        softness = {"divisor": 1.0, "smoothing": 0.0, "temperature": self.temperature}
        if isinstance(match, UniformStep):
            softness["smoothing"] = round(min(max(match.smoothing, 0.0), 0.999), 6)
        else:
            softness["divisor"] = round(match.divisor, 6)
        if not context.topology.leads:
            return {}
        folder = inputs[self.network.key]
        replace(read_architecture(folder), softness=softness).write(context.folder)
        write_weights(Softened(read_network(folder, self.size), **softness), context.folder)
        return {**softness, "image_passes": 2 * Prepared(inputs[self.data.key]).facts.images["train"]}
