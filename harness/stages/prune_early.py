"""Stage `prune_early`: weights out of a network before it is trained at all.

Lives here: the stage. Must not: criteria, thresholds, masks (`harness.criteria`, `harness.pruning`), the training that
follows (`train` and `self_distill`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.choices import require_choices
from harness.context import Context
from harness.contracts import Criterion, LooksAhead, Model, SelfDistillation
from harness.data.augment import Augment
from harness.errors import UserError
from harness.pruning.scope import Scope, n_of_m, require_sparsity
from harness.spec import Json, Stage
from harness.stages.prepare import Prepare

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.pruning.mask import Masks


@dataclass(frozen=True, kw_only=True)
class PruneEarly(Stage):
    """A fresh network, drawn under `seed`, without the weights of which `criterion` thinks least; it is not trained.

    With `ProsPr` and the loss of the self-distillation that follows this is the first step of EPSD (Chen et al., AAAI
    2024). Scoring counts as a training of one epoch, so PS-KD looks back with its whole `alpha` from the first step on.
    Gradient flow is that of the cross-entropy on one batch: the squared norm of the gradient of the weights that stay,
    in the pruned network, over that of all weights in the whole one.
    """

    ranks: ClassVar[str] = "all"

    network: Model
    criterion: Criterion
    sparsity: float
    """Share of all prunable weights that goes; under n:m, of the layers whose inputs divide by m."""
    method: SelfDistillation | None = None
    """By whose loss weights are scored; None: by the cross-entropy with the labels."""
    data: Prepare
    augment: Augment
    batch: int = 128
    """Images that weights are scored on at a time."""
    scope: Scope = "global"
    iterations: int = 1
    """Scores and removals; the share that is left falls by the same factor in each."""
    layers_like: Stage | None = None
    """Each layer loses as many weights as it has lost in this network; the criterion decides which."""
    start: Literal["initial", "looked_ahead", "redrawn"] = "initial"
    """What the weights that stay are: as they were scored; as the criterion's own steps left them; drawn once more."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_choices(self)
        require_sparsity(self.sparsity, self.scope)
        if self.iterations < 1:
            raise UserError(f"iterations {self.iterations} of pruning are none: at least 1")
        if self.iterations > 1 and n_of_m(self.scope):
            raise UserError(
                f"scope {self.scope!r} has one sparsity only, so nothing can rise to it: iterations must be 1"
            )
        if self.layers_like is not None and (self.iterations, self.scope) != (1, "global"):
            raise UserError("layers_like says how much each layer loses: leave scope and iterations as they are")
        require_memory_kept(self.method, self.criterion, self.iterations)
        if self.start == "looked_ahead" and not isinstance(self.criterion, LooksAhead):
            name = type(self.criterion).__name__
            raise UserError(f"{name} takes no steps of its own, so no weights come of them: start must be 'initial'")

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.network import Architecture, place
        from harness.pruning.gradient_flow import gradient_flow
        from harness.pruning.mask import apply, digest, kept
        from harness.stages._counted import CountedImages
        from harness.stages._decided import decided_masks
        from harness.stages._fit import publish_network
        from harness.stages._scoring import early_batches

        torch.manual_seed(self.seed)
        network = place(self.network.build(), context.device, channels_last=True)
        with CountedImages(network) as counted:
            start = self._start(network, inputs, context)
            masks = decided_masks(lambda: self._masks(network, inputs, context), context)
        network.load_state_dict(start)
        with early_batches(self, inputs, context) as batches:
            flow = gradient_flow(network, masks, next(batches))
        if not context.topology.leads:
            return {}
        apply(network, masks)
        publish_network(Architecture(self.network), network, context.folder, masks, self.augment.size)
        left, weights = kept(masks), sum(mask.numel() for mask in masks.values())
        return {
            "kept": left,
            "mask": digest(masks),
            "zeros": weights - sum(left.values()),
            "prunable": weights,
            "gradient_flow": flow,
            "seed": self.seed,
            "image_passes": counted.images,
        }

    def _start(self, network: "nn.Module", inputs: Mapping[str, Path], context: Context) -> "dict[str, Tensor]":
        """What the weights are before some of them go."""
        from harness.stages._scoring import early_batches, scoring_objective

        if self.start == "redrawn":
            return self.network.build().state_dict()
        initial = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        if self.start == "initial" or not isinstance(self.criterion, LooksAhead):
            return initial
        objective = scoring_objective(self, network, inputs, context)
        with early_batches(self, inputs, context, objective.mates) as batches:
            return initial | self.criterion.after_inner_steps(network, batches, objective)

    def _masks(self, network: "nn.Module", inputs: Mapping[str, Path], context: Context) -> "Masks":
        """Choose what goes; the network loses it, iteration by iteration."""
        from harness.engine.group import same_on_all_ranks
        from harness.network import read_network
        from harness.pruning.allocation import allocated_masks, masks_with_counts
        from harness.pruning.mask import all_kept, apply, removed_from
        from harness.stages._scoring import early_batches, scoring_objective

        masks, objective = all_kept(network), scoring_objective(self, network, inputs, context)
        with early_batches(self, inputs, context, objective.mates) as batches:
            if self.layers_like is not None:
                removed = removed_from(read_network(inputs[self.layers_like.key], self.augment.size))
                return masks_with_counts(self.criterion.score(network, batches, objective), removed, masks)
            for iteration in range(1, self.iterations + 1):
                left = (1 - self.sparsity) ** (iteration / self.iterations)
                sparsity = self.sparsity if iteration == self.iterations else 1 - left
                masks = allocated_masks(self.criterion.score(network, batches, objective), sparsity, self.scope, masks)
                same_on_all_ranks(masks.values())
                apply(network, masks)
        return masks


def require_memory_kept(method: SelfDistillation | None, criterion: Criterion, iterations: int = 1) -> None:
    """Raise UserError if a loss that looks back at the update before is to score several batches without updates."""
    looks_back = method is not None and method.mates == "previous"
    several = getattr(criterion, "batches", 1) * iterations > 1
    if looks_back and several and not isinstance(criterion, LooksAhead):
        raise UserError(
            f"{type(method).__name__} looks back at the update before, and {type(criterion).__name__} makes none"
            " between its batches: score with ProsPr, or once on one batch"
        )
