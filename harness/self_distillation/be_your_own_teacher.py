"""Be your own teacher: exits along the way learn from the network's own end.

Lives here: the method `BeYourOwnTeacher`. Must not: the exits (`_exits`), how features are tapped (`harness.taps`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from harness.choices import require_not_negative, require_positive, require_share
from harness.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch, Mates
    from harness.contracts import Forward, Given
    from harness.course import Course
    from harness.self_distillation._exits import Exits


@dataclass(frozen=True, kw_only=True)
class BeYourOwnTeacher:
    """CE of the end; for each exit (1 - w) CE + w KL + v L2 (Zhang et al., ICCV 2019, equation 6).

    KL(softmax(z/T) || softmax(z_e/T)) is the divergence of the exit's logits z_e from the network's z, L2 the squared
    distance of the exit's last feature from the network's; the network's own are constants in both. As in the authors'
    code nothing is multiplied by T^2. Weight and temperature are those of that code, of the later journal version,
    which has no L2; the hint's weight is ours, of the order of a public reimplementation's. The exits are trained
    beside the network and not published.
    """

    mates: ClassVar["Mates"] = "none"

    exits: tuple[str, ...] = ("layer1", "layer2", "layer3")
    """Layers after which there is an exit, by module path. The defaults are those of `harness.models.resnet`."""
    deepest: str = "layer4"
    """The layer whose map the exits' features are compared with: the last one, before it is averaged."""
    temperature: float = 3.0
    weight: float = 0.3
    """w, of the network's predictions; the labels have the rest."""
    hint_weight: float = 1e-5
    """v, of the squared distance: a sum over a map's numbers, a mean over the images."""

    def __post_init__(self) -> None:
        if not self.exits or len({*self.exits, self.deepest}) <= len(self.exits):
            raise UserError(f"exits {self.exits} before {self.deepest!r}: name at least one layer, and each once")
        require_positive(self, "temperature")
        require_share(self, "weight")
        require_not_negative(self, "hint_weight")

    def beside(self, network: "nn.Module", course: "Course") -> "Exits":
        """A branch and a classifier for each exit."""
        from harness.self_distillation._exits import Exits
        from harness.taps import Taps

        return Exits(Taps(network, (*self.exits, self.deepest)), course.recipe.augment.size, course.classes)

    def given(self, network: "Forward", batch: "Batch", beside: "nn.Module | None") -> None:
        """The network speaks in the same forward."""

    def terms(
        self, network: "Forward", batch: "Batch", given: "Given", beside: "nn.Module | None"
    ) -> "dict[str, Tensor]":
        """Cross-entropies of the end and all exits, divergences, and distances: sums over exits, means over B."""
        import torch
        from torch.nn import functional as F

        from harness.divergence import softened_kl

        branches = cast("Exits", beside)
        logits = network(batch.images)
        *shallow, deepest = (feature.to(logits.dtype) for feature in branches.taps.take().values())
        exits = branches(shallow)
        labels = [F.cross_entropy(said, batch.labels) for _, said in exits]
        ends = [softened_kl(said, logits.detach(), self.temperature) for _, said in exits]
        hints = [(feature - deepest.detach()).square().flatten(1).sum(1).mean() for feature, _ in exits]
        return {
            "ce": F.cross_entropy(logits, batch.labels) + (1 - self.weight) * torch.stack(labels).sum(),
            "kd": self.weight * torch.stack(ends).sum(),
            "hint": self.hint_weight * torch.stack(hints).sum(),
        }
