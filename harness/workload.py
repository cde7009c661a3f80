"""What a stage sends through which networks, read off its spec.

Lives here: `Load`, and the loads of every kind of stage. Must not: what a pass costs (`harness.estimate`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contracts import Criterion
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.inspect import Inspect
from harness.stages.prune_channels_early import PruneChannelsEarly
from harness.stages.prune_early import PruneEarly
from harness.stages.self_distill import SelfDistill
from harness.stages.smoothing import Smoothing
from harness.stages.soften import Soften
from harness.stages.teacher_outputs import TeacherOutputs

TRAINED, SEEN = 3, 1
"""A training pass counts as three forward passes: the backward computes two products for each one of the forward."""


@dataclass(frozen=True)
class Shape:
    """A network, as far as its cost goes: the model it began as, and what made it smaller, the last first."""

    model: Any  # a Model, which is hashable
    reductions: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True)
class Load:
    """So many images through one network, each worth so many forward passes."""

    shape: Shape
    images: int
    passes: int


def workload(stage: Stage, images: Mapping[str, int]) -> list[Load]:
    """What the stage sends through networks; nothing if it runs none. `images` counts those of its data by split."""
    recipe = getattr(stage, "recipe", None)
    if isinstance(stage, TeacherOutputs):
        return [Load(shape(stage.teacher), stage.recipe.epochs * _whole(images, stage.recipe.global_batch), SEEN)]
    if recipe is not None:
        return _training(stage, recipe, images)
    if isinstance(stage, Evaluate | Inspect):
        networks = [stage.network, getattr(stage, "teacher", None)]
        seen = images[stage.split] * (2 if getattr(stage, "flip", False) else 1)
        return [Load(shape(network), seen, SEEN) for network in networks if network is not None]
    if isinstance(stage, Smoothing | Soften):
        both = (stage.network, stage.dense if isinstance(stage, Smoothing) else stage.like)
        return [Load(shape(network), _whole(images, stage.batch), SEEN) for network in both]
    if isinstance(stage, PruneEarly | PruneChannelsEarly):
        rounds = getattr(stage, "iterations", 1)
        return [Load(Shape(stage.network, ()), rounds * _batches(stage.criterion) * stage.batch, TRAINED)]
    return []


def shape(network: Any) -> Shape:
    """Of a model spec, or of the network that a stage leaves."""
    reductions: list[tuple[str, float | None]] = []
    while isinstance(network, Stage):
        if network.name in ("prune_channels", "prune_channels_early"):
            reductions.append((network.name, getattr(network, "reduction", None)))
        elif network.name == "student":
            reductions.append((network.name, getattr(getattr(network, "like", None), "sparsity", None)))
        network = next(vars(network)[field] for field in ("student", "network", "like") if field in vars(network))
    return Shape(network, tuple(reductions))


def _training(stage: Stage, recipe: Recipe, images: Mapping[str, int]) -> list[Load]:
    epochs, own = recipe.end - recipe.first_epoch, shape(stage)
    trained_on = epochs * _whole(images, recipe.global_batch)
    loads = [Load(own, trained_on, TRAINED)]
    if recipe.keep == "best":
        loads.append(Load(own, epochs * images["minival"], SEEN))
    if isinstance(stage, Distill) and not isinstance(stage.teacher, TeacherOutputs):
        loads.append(Load(shape(stage.teacher), trained_on, SEEN))
    if isinstance(stage, SelfDistill) and stage.method.mates != "none":
        loads.append(Load(own, trained_on, TRAINED if stage.method.mates == "previous" else SEEN))
    if (criterion := getattr(stage, "criterion", None)) is not None and _batches(criterion):
        loads.append(Load(own, _batches(criterion) * recipe.batch_per_gpu, SEEN))
    return loads


def _whole(images: Mapping[str, int], batch: int) -> int:
    """Training images of an epoch: those of an incomplete last batch are left out."""
    return images["train"] - images["train"] % batch


def _batches(criterion: Criterion) -> int:
    """How many a criterion asks for."""
    steps: int = getattr(criterion, "inner_steps", 0)
    batches: int = getattr(criterion, "batches", steps + 1 if steps else 0)
    return batches
