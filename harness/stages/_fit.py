"""What every stage that trains has in common: network in, trained network on disk out.

Lives here: `fit`, and the network it starts from. Must not: how a network is changed, or what its loss is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import nn

from harness.context import Context
from harness.contracts import Objective
from harness.data.prepared import Prepared
from harness.engine.group import same_on_all_ranks
from harness.errors import UserError
from harness.gradual import Gradual
from harness.loop import train
from harness.network import Architecture, place, read_architecture, read_network
from harness.provenance import EARLIER
from harness.pruning.mask import Masks, all_kept, digest, hold, kept, masks_of
from harness.recipe import Recipe
from harness.spec import Json, Stage
from harness.stages._publish import publish_network
from harness.stages.prune_channels_early import PruneChannelsEarly
from harness.stages.student import Student

if TYPE_CHECKING:
    from harness.stages.prepare import Prepare


def architecture_of(network: object, inputs: Mapping[str, Path]) -> Architecture:
    """The architecture behind a field that holds a model spec or a stage that made one."""
    if isinstance(network, Stage):
        return read_architecture(inputs[network.key])
    return Architecture(network)


def starting_network(network: object, inputs: Mapping[str, Path], image_size: int) -> nn.Module:
    """The trained network of a stage, or a fresh one of a model spec or `Student`, drawn from torch's generator."""
    if isinstance(network, Stage) and not isinstance(network, Student):
        return read_network(inputs[network.key], image_size)
    return architecture_of(network, inputs).build(image_size)


def starting_masks(network: object, built: nn.Module) -> Masks:
    """What a network of a stage has lost, by its zeros; one that is fresh, or became smaller so, has lost nothing."""
    pruned = isinstance(network, Stage) and not isinstance(network, Student | PruneChannelsEarly)
    return masks_of(built) if pruned else all_kept(built)


class Training(Protocol):
    """A stage that trains."""

    @property
    def data(self) -> "Prepare": ...
    @property
    def recipe(self) -> Recipe: ...
    @property
    def seed(self) -> int: ...


def fit(
    stage: Training,
    architecture: Architecture,
    network: nn.Module,
    objective: Objective,
    inputs: Mapping[str, Path],
    context: Context,
    *,
    masks: Masks | None = None,
    gradual: Gradual | None = None,
) -> dict[str, Json]:
    """Train `network` as `stage` says and leave it in `context.folder`.

    `masks` says which weights are gone, and zero: they stay so. `gradual` removes more on the way. Raises StageError
    if one of them is not zero in the published file.
    """
    prepared, recipe = Prepared(inputs[stage.data.key]), stage.recipe
    require_classes(architecture, prepared)
    place(network, context.device, channels_last=recipe.channels_last)
    same_on_all_ranks(network.state_dict().values())
    masks = masks or all_kept(network)
    hold(network, masks)
    trained = train(network, recipe, objective, prepared, stage.seed, context, gradual)
    if not context.topology.leads:
        return {}
    masks = trained.masks or masks
    publish_network(architecture, network, context.folder, masks, recipe.augment.size)
    total = sum(mask.numel() for mask in masks.values())
    return {
        "losses": [round(loss, 6) for loss in trained.losses],
        "kept": kept(masks),
        "mask": digest(masks),
        "zeros": total - sum(kept(masks).values()),
        "prunable": total,
        "seed": stage.seed,
        EARLIER: round(trained.earlier_device_seconds, 1),
        "image_passes": image_passes(recipe, prepared.facts.images),
    }


def image_passes(recipe: Recipe, images: Mapping[str, int]) -> int:
    """Images that go through the network while it is trained, those that its best epoch is chosen on included."""
    train = images["train"] - images["train"] % recipe.global_batch
    chosen_on = images["minival"] if recipe.keep == "best" else 0
    return (recipe.end - recipe.first_epoch) * (train + chosen_on)


def require_classes(architecture: Architecture, prepared: Prepared) -> None:
    """Refuse a network with fewer outputs than the data have classes."""
    facts = prepared.facts
    if architecture.model.classes < facts.classes:
        raise UserError(
            f"the network has {architecture.model.classes} outputs, {facts.name} has {facts.classes} classes"
        )
