"""DLB: the network should say of an image what it said of another view of it at the update before.

Lives here: the method `DLB`. Must not: the memory (`_previous`), the draw of the second views (`harness.data`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from harness.choices import require_not_negative, require_positive

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.batch import Batch, Mates
    from harness.contracts import Forward, Given
    from harness.course import Course
    from harness.self_distillation._previous import Previous


@dataclass(frozen=True, kw_only=True)
class DLB:
    """CE over both views + weight T^2 KL(softmax(z'/T) || softmax(z/T)) (Shen et al., CVPR 2022).

    z' are the logits that an image got at the update before, z those of another crop and flip of it now. An update
    sees its own images and those of the one before, so each image twice, in one forward: BatchNorm sees both. The
    authors' code has no defaults; a tag in it hints at a temperature of 3, and the weight is ours.
    """

    mates: ClassVar["Mates"] = "previous"

    temperature: float = 3.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "temperature")
        require_not_negative(self, "weight")

    def beside(self, network: "nn.Module", course: "Course") -> "Previous":
        """The logits of the update before."""
        from harness.self_distillation._previous import Previous

        return Previous(course.recipe, course.classes)

    def given(self, network: "Forward", batch: "Batch", beside: "nn.Module | None") -> "Tensor | None":
        """What the mates' images got at the update before: logits (B, classes); None if there was none."""
        return None if batch.mates is None else cast("Previous", beside).logits_at(batch.position)

    def terms(
        self, network: "Forward", batch: "Batch", given: "Given", beside: "nn.Module | None"
    ) -> "dict[str, Tensor]":
        """Cross-entropy, mean over 2 B, and the weighted divergence, mean over B; notes the logits (B, classes).

        Where there was no update before: cross-entropy alone, mean over B.
        """
        import torch
        from torch.nn import functional as F

        from harness.divergence import softened_kl

        parts = [batch] if batch.mates is None else [batch, batch.mates]
        logits = network(torch.cat([part.images for part in parts]))
        now, again = logits.tensor_split([len(batch.labels)])
        cast("Previous", beside).note(batch.position, now.detach())
        terms = {"ce": F.cross_entropy(logits, torch.cat([part.labels for part in parts]))}
        if batch.mates is not None:
            terms["previous"] = self.weight * self.temperature**2 * softened_kl(again, given, self.temperature)
        return terms
