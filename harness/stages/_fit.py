"""What every stage that trains has in common: network in, trained network on disk out.

Lives here: `fit`. Must not: how the network came to be, or what its loss is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import nn

from harness.context import Context
from harness.contracts import Objective
from harness.data.prepared import Prepared
from harness.errors import StageError, UserError
from harness.loop import train
from harness.network import Architecture, read_architecture, read_network, write_weights
from harness.pruning.mask import hold, masks_of, prunable, zeros
from harness.recipe import Recipe
from harness.spec import Json, Stage

if TYPE_CHECKING:
    from harness.stages.prepare import Prepare


def architecture_of(network: object, inputs: Mapping[str, Path]) -> Architecture:
    """The architecture behind a field that holds a model spec or a stage that made one."""
    if isinstance(network, Stage):
        return read_architecture(inputs[network.key])
    return Architecture(network)


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
) -> dict[str, Json]:
    """Train `network`, whose zero weights stay zero, as `stage` says, and leave it in `context.folder`.

    Raises StageError if the published file does not hold exactly as many zeros as the network had before.
    """
    prepared = Prepared(inputs[stage.data.key])
    require_classes(architecture, prepared)
    pruned = zeros(network)
    hold(network, {name: mask for name, mask in masks_of(network).items() if not mask.all()})
    losses = train(network, stage.recipe, objective, prepared, stage.seed, context)
    if not context.topology.leads:
        return {}
    publish_network(architecture, network, context.folder, pruned, stage.recipe.augment.size)
    total = sum(weight.numel() for weight in prunable(network).values())
    return {"losses": [round(loss, 6) for loss in losses], "zeros": pruned, "prunable": total, "seed": stage.seed}


def publish_network(architecture: Architecture, network: nn.Module, folder: Path, pruned: int, image_size: int) -> None:
    """Write the network, read it back and count its zeros."""
    odd = [name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    if odd:
        raise StageError(f"{odd[0]} holds numbers that are not finite after training: lower the learning rate")
    architecture.write(folder)
    write_weights(network, folder)
    found = zeros(read_network(folder, image_size))
    if found != pruned:
        raise StageError(f"{found} prunable weights are zero in the saved file, {pruned} were pruned")


def require_classes(architecture: Architecture, prepared: Prepared) -> None:
    """Refuse a network with fewer outputs than the data have classes."""
    facts = prepared.facts
    if architecture.model.classes < facts.classes:
        raise UserError(
            f"the network has {architecture.model.classes} outputs, {facts.name} has {facts.classes} classes"
        )
