"""Stage `self_distill`: a network that learns from labels and from itself.

Lives here: the stage, and the chains that papers make of it. Must not: losses (`harness.self_distillation`), scores
(`harness.criteria`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.contracts import Distillation, Model, RemembersImages, SelfDistillation
from harness.errors import UserError
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages.distill import Distill
from harness.stages.prepare import Prepare
from harness.stages.prune_channels_early import PruneChannelsEarly
from harness.stages.prune_early import PruneEarly
from harness.stages.student import Student
from harness.stages.train import Train

GENERATION = 1000
"""How far the seeds of generations that are born again lie apart."""


@dataclass(frozen=True, kw_only=True)
class SelfDistill(Stage):
    """A fresh network, or what early pruning has left of one; the recipe says which epoch is kept."""

    ranks: ClassVar[str] = "all"
    keeps: ClassVar[str] = "remembers, also in each checkpoint,"

    network: Model | Student | PruneEarly | PruneChannelsEarly
    method: SelfDistillation
    data: Prepare
    recipe: Recipe
    seed: int = 0

    def __post_init__(self) -> None:
        if self.recipe.label_smoothing:
            raise UserError("a network that distils itself has its method's targets: label_smoothing must be 0")

    @property
    def bytes_an_image(self) -> int | None:
        """What the method remembers."""
        if not isinstance(self.method, RemembersImages):
            return None
        return self.method.bytes_an_image(_outputs(self.network))

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.course import Course
        from harness.data.prepared import Prepared
        from harness.engine.group import ranks
        from harness.objective import SelfDistilled
        from harness.stages._fit import architecture_of, fit, starting_masks, starting_network

        torch.manual_seed(self.seed)
        architecture = architecture_of(self.network, inputs)
        network = starting_network(self.network, inputs, self.recipe.augment.size)
        masks = starting_masks(self.network, network)
        images = Prepared(inputs[self.data.key]).facts.images["train"]
        torch.manual_seed(self.seed)  # or what a method begins with would depend on what the network drew
        course = Course(self.recipe, images, architecture.model.classes, ranks())
        objective = SelfDistilled(self.method, network, course)
        payload = fit(self, architecture, network, objective, inputs, context, masks=masks)
        if payload:
            payload["image_passes"] += self._second_images(images)
        return payload

    def _second_images(self, images: int) -> int:
        """How many go through the network besides the first ones."""
        updates = (self.recipe.end - self.recipe.first_epoch) * (images // self.recipe.global_batch)
        with_mates = {"none": 0, "class": updates, "previous": updates - 1}[self.method.mates]
        return with_mates * self.recipe.global_batch


def born_again(
    network: Model, *, generations: int, method: Distillation, data: Prepare, recipe: Recipe, seed: int = 0
) -> list[Train | Distill]:
    """The network trained on labels, then as often anew, each time taught by the one before (Furlanello et al., 2018).

    One generation is also the teacher-free distillation Tf-KD_self of Yuan et al. (CVPR 2020). The last one has `seed`;
    those before it have others, for every generation starts from weights of its own.
    """
    if generations < 1:
        raise UserError(f"{generations} generations born again are none: at least 1")
    first, *later = (seed + GENERATION * (generations - generation) for generation in range(generations + 1))
    found: list[Train | Distill] = [Train(network=network, data=data, recipe=recipe, seed=first)]
    for own in later:
        found.append(Distill(student=network, teacher=found[-1], method=method, data=data, recipe=recipe, seed=own))
    return found


def _outputs(network: object) -> int:
    """The outputs of the model that a network is at its beginning, or that it is formed after."""
    while isinstance(network, Stage):
        network = next(vars(network)[field] for field in ("network", "like", "student") if field in vars(network))
    return int(network.classes)  # type: ignore[attr-defined]  # a Model
