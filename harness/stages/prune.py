"""Stage `prune`: weights out of a network, then training with what remains.

Lives here: the stage, and the chains of rounds that papers make of it. Must not: criteria, thresholds, masks
(`harness.criteria`, `harness.pruning`).
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.choices import require_choices
from harness.context import Context
from harness.contracts import Criterion
from harness.errors import UserError
from harness.pruning.scope import Scope, require_sparsity
from harness.recipe import Recipe
from harness.spec import Json, Stage, added_field
from harness.stages.prepare import Prepare

if TYPE_CHECKING:
    from torch import nn

    from harness.batch import Batch
    from harness.contracts import Objective
    from harness.network import Architecture
    from harness.pruning.mask import Masks


@dataclass(frozen=True, kw_only=True)
class Prune(Stage):
    """Unstructured pruning up to `sparsity` in all, then `recipe` from its first learning rate on.

    On a dense network this is one-shot, on a pruned one it is the next round.
    """

    version: ClassVar[int] = 2  # running statistics move once a step, not once a micro-batch
    ranks: ClassVar[str] = "all"

    network: Stage
    criterion: Criterion
    sparsity: float
    """Share of all prunable weights that is zero afterwards, earlier rounds included; under n:m, of the layers whose
    inputs divide by m."""
    data: Prepare
    recipe: Recipe
    seed: int = 0
    scope: Scope = added_field(default="global", neutral="global")
    layers_like: Stage | None = added_field(default=None, neutral=None)
    """Each layer loses as many weights as it has lost in this network; the criterion decides which."""
    rewind_to: Stage | None = added_field(default=None, neutral=None)
    """The weights that remain go back to what they are in this network, usually the dense one after a few epochs."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_sparsity(self.sparsity, self.scope)
        if self.layers_like is not None and self.scope != "global":
            raise UserError("layers_like says how much each layer loses: leave scope as it is")
        early = getattr(self.rewind_to, "recipe", None)
        if early is not None and early.end != self.recipe.first_epoch:
            raise UserError(
                f"weights of epoch {early.end} go on with the schedule of epoch {self.recipe.first_epoch}:"
                f" the recipe's first_epoch must be {early.end}"
            )

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.network import place
        from harness.objective import CrossEntropy
        from harness.pruning.mask import apply
        from harness.stages._decided import decided_masks
        from harness.stages._fit import architecture_of, fit, starting_masks, starting_network
        from harness.stages._scoring import ScoringBatches

        torch.manual_seed(self.seed)
        architecture = architecture_of(self.network, inputs)
        network = starting_network(self.network, inputs, self.recipe.augment.size)
        place(network, context.device, channels_last=self.recipe.channels_last)
        objective = CrossEntropy(self.recipe.label_smoothing)
        before = starting_masks(self.network, network)
        with ScoringBatches(self, self.recipe, inputs, context) as batches:
            masks = decided_masks(lambda: self._masks(network, before, batches, objective, inputs), context)
        if self.rewind_to is not None:
            self._rewind(network, architecture, inputs[self.rewind_to.key])
        apply(network, masks)
        payload = fit(self, architecture, network, objective, inputs, context, masks=masks)
        if payload:
            payload["image_passes"] += batches.images
        return payload

    def _masks(
        self,
        network: "nn.Module",
        masks: "Masks",
        batches: "Iterable[Batch]",
        objective: "Objective",
        inputs: Mapping[str, Path],
    ) -> "Masks":
        """Choose what goes besides what `masks` removed."""
        from harness.network import read_network
        from harness.pruning.allocation import allocated_masks, masks_with_counts
        from harness.pruning.mask import removed_from

        scores = self.criterion.score(network, batches, objective)
        if self.layers_like is None:
            return allocated_masks(scores, self.sparsity, self.scope, masks)
        like = read_network(inputs[self.layers_like.key], self.recipe.augment.size)
        return masks_with_counts(scores, removed_from(like), masks)

    def _rewind(self, network: "nn.Module", architecture: "Architecture", folder: Path) -> None:
        from harness.network import read_architecture, read_network

        if read_architecture(folder) != architecture:
            raise UserError("rewind_to is a network of another architecture: name an earlier epoch of the same one")
        network.load_state_dict(read_network(folder, self.recipe.augment.size).state_dict())


def lr_rewinding(
    network: Stage,
    *,
    rounds: int,
    criterion: Criterion,
    data: Prepare,
    recipe: Recipe,
    seed: int = 0,
    rewind_to: Stage | None = None,
) -> list[Prune]:
    """The rounds of LR rewinding on a dense network, each a stage: a round removes a fifth of what remains.

    The weights stay and the schedule starts again (Renda et al., ICLR 2020). So 2, 4 and 7 rounds reach 36, 59.04 and
    79.03 %, and every prefix is shared (No & Park, ECCV 2022). With `rewind_to`, and a recipe whose `first_epoch` is
    that network's, it is weight rewinding; with a recipe that stays at the last rate it is fine-tuning.
    """
    done: list[Prune] = []
    for number in range(1, rounds + 1):
        done.append(
            Prune(
                network=done[-1] if done else network,
                criterion=criterion,
                sparsity=sparsity_after(number),
                data=data,
                recipe=recipe,
                seed=seed,
                rewind_to=rewind_to,
            )
        )
    return done


def shuffled(rounds: list[Prune], criterion: Criterion) -> list[Prune]:
    """The same rounds with masks that keep as many weights in each layer, but others: those `criterion` chooses."""
    done: list[Prune] = []
    for like in rounds:
        last = done[-1] if done else like.network
        done.append(dataclasses.replace(like, network=last, criterion=criterion, layers_like=like))
    return done


def sparsity_after(rounds: int) -> float:
    """What is gone after so many rounds that each remove a fifth of what remains."""
    return round(1 - 0.8**rounds, 10)
