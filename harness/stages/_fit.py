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
from harness.errors import StageError, UserError
from harness.gradual import Gradual
from harness.loop import train
from harness.network import Architecture, place, read_architecture, read_network, write_weights
from harness.pruning.mask import Masks, digest, hold, kept, masks_of, prunable, zeros
from harness.recipe import Recipe
from harness.spec import Json, Stage
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
    gradual: Gradual | None = None,
) -> dict[str, Json]:
    """Train `network`, whose zero weights stay zero, as `stage` says, and leave it in `context.folder`.

    `gradual` removes more of them on the way. Raises StageError if the published file does not hold exactly the zeros
    that were pruned.
    """
    prepared = Prepared(inputs[stage.data.key])
    require_classes(architecture, prepared)
    place(network, context.device, channels_last=stage.recipe.channels_last)
    same_on_all_ranks(network.state_dict().values())
    before = masks_of(network)
    hold(network, before)
    trained = train(network, stage.recipe, objective, prepared, stage.seed, context, gradual)
    if not context.topology.leads:
        return {}
    masks = before if gradual is None else masks_of(network)
    publish_network(architecture, network, context.folder, masks, stage.recipe.augment.size)
    recipe, images = stage.recipe, prepared.facts.images["train"]
    epochs = recipe.end - recipe.first_epoch
    return {
        "losses": [round(loss, 6) for loss in trained.losses],
        "kept": kept(masks),
        "mask": digest(masks),
        "zeros": zeros(network),
        "prunable": sum(weight.numel() for weight in prunable(network).values()),
        "seed": stage.seed,
        "earlier_device_seconds": round(trained.earlier_device_seconds, 1),
        "image_passes": epochs * (images - images % recipe.global_batch),
    }


def publish_network(
    architecture: Architecture, network: nn.Module, folder: Path, masks: Masks, image_size: int
) -> None:
    """Write the network, read it back and compare its zeros with what `masks` removed."""
    odd = [name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    if odd:
        raise StageError(f"{odd[0]} holds numbers that are not finite after training: lower the learning rate")
    architecture.write(folder)
    write_weights(network, folder)
    found = masks_of(read_network(folder, image_size))
    if digest(found) != digest(masks):
        kept_there, wanted = sum(kept(found).values()), sum(kept(masks).values())
        raise StageError(f"the saved file keeps {kept_there} weights, the mask {wanted}: not the same ones")


def require_classes(architecture: Architecture, prepared: Prepared) -> None:
    """Refuse a network with fewer outputs than the data have classes."""
    facts = prepared.facts
    if architecture.model.classes < facts.classes:
        raise UserError(
            f"the network has {architecture.model.classes} outputs, {facts.name} has {facts.classes} classes"
        )
