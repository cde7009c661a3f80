"""Stage `prune_early`: weights out of a network before it is trained at all.

Lives here: the stage. Must not: criteria, thresholds, masks (`harness.criteria`, `harness.pruning`), the training that
follows (`train` and `self_distill`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.choices import require_choices, require_share
from harness.context import Context
from harness.contracts import Criterion, LooksAhead, Model, SelfDistillation
from harness.data.augment import Augment
from harness.errors import UserError
from harness.pruning.scope import Scope, n_of_m, require_sparsity
from harness.spec import Json, Stage, added_field
from harness.stages.prepare import Prepare

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.pruning.mask import Masks


@dataclass(frozen=True, kw_only=True)
class PruneEarly(Stage):
    """A fresh network, drawn under `seed`, without the weights of which `criterion` thinks least; it is not trained.

    With `ProsPr` and the loss of the self-distillation that follows this is the first step of EPSD (Chen et al., AAAI
    2024). Gradient flow is that of the cross-entropy on one batch: the squared norm of the gradient of the weights that
    stay, in the pruned network, over that of all weights in the whole one.
    """

    short: ClassVar[bool] = True

    network: Model
    criterion: Criterion
    sparsity: float
    """Share of all prunable weights that goes; under n:m, of the layers whose inputs divide by m."""
    method: SelfDistillation | None = None
    """By whose loss weights are scored; None: by the cross-entropy with the labels."""
    alpha_at_score: float = added_field(default=0.8, neutral=0.8)
    """What weights are scored with in the place of PS-KD's `alpha`, whole from the first step on. Not established for
    EPSD: it is the `alpha` with which PS-KD's training ends; begun as that begins, it would score by labels alone."""
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
        require_share(self, "alpha_at_score")
        require_sparsity(self.sparsity, self.scope)
        if self.iterations < 1:
            raise UserError(f"iterations {self.iterations} of pruning are none: at least 1")
        if self.iterations > 1 and n_of_m(self.scope):
            raise UserError(
                f"scope {self.scope!r} has one sparsity only, so nothing can rise to it: iterations must be 1"
            )
        if self.layers_like is not None and (self.iterations, self.scope) != (1, "global"):
            raise UserError("layers_like says how much each layer loses: leave scope and iterations as they are")
        name, ahead = type(self.criterion).__name__, isinstance(self.criterion, LooksAhead)
        if self.iterations > 1 and ahead:
            raise UserError(f"{name} takes steps of its own, which would move what is gone: iterations must be 1")
        if self.start == "looked_ahead" and not ahead:
            raise UserError(f"{name} takes no steps of its own, so no weights come of them: choose another start")
        require_memory_kept(self.method, self.criterion, self.iterations)

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        import torch

        from harness.gradient_flow import gradient_flow
        from harness.network import Architecture, place
        from harness.pruning.mask import apply, digest, keep_apart, kept
        from harness.stages._publish import publish_network
        from harness.stages._scoring import early_batches

        torch.manual_seed(self.seed)
        network = place(self.network.build(), context.device, channels_last=True)
        start = self._start(network, inputs, context)
        masks, images = self._masks(network, inputs, context)
        network.load_state_dict(start)
        with early_batches(self, inputs, context) as batches:
            flow = gradient_flow(network, masks, next(batches))
        apply(network, masks)
        keep_apart(network, masks)
        publish_network(Architecture(self.network), network, context.folder, masks, self.augment.size)
        left, weights = kept(masks), sum(mask.numel() for mask in masks.values())
        return {
            "kept": left,
            "mask": digest(masks),
            "zeros": weights - sum(left.values()),
            "prunable": weights,
            "gradient_flow": flow,
            "seed": self.seed,
            "image_passes": images,
        }

    def _start(self, network: "nn.Module", inputs: Mapping[str, Path], context: Context) -> "dict[str, Tensor]":
        """What the weights are before some of them go. Scores see the draws that they would see without it."""
        import torch

        from harness.stages._scoring import early_batches, scored

        with torch.random.fork_rng([] if context.device == "cpu" else [context.device]):
            if self.start == "redrawn":
                return self.network.build().state_dict()
            if self.start == "looked_ahead" and isinstance(self.criterion, LooksAhead):
                subject, objective = scored(self, network, inputs, context)
                with early_batches(self, inputs, context, objective.mates) as batches:
                    ahead = self.criterion.after_inner_steps(subject, batches, objective)
                return network.state_dict() | ahead
        return network.state_dict()

    def _masks(self, network: "nn.Module", inputs: Mapping[str, Path], context: Context) -> "tuple[Masks, int]":
        """What stays, and how many images went through the network for it, which is left as it is."""
        from harness.network import read_network
        from harness.pruning.allocation import allocated_masks, masks_with_counts
        from harness.pruning.mask import all_kept, apply, removed_from
        from harness.stages._counted import CountedImages
        from harness.stages._scoring import early_batches, scored

        masks = all_kept(network)
        subject, objective = scored(self, network, inputs, context)
        with CountedImages(subject) as counted, early_batches(self, inputs, context, objective.mates) as batches:
            for iteration in range(1, self.iterations + 1):
                scores = self.criterion.score(subject, batches, objective)
                if self.layers_like is not None:
                    like = read_network(inputs[self.layers_like.key], self.augment.size)
                    return masks_with_counts(scores, removed_from(like), masks), counted.images
                left = (1 - self.sparsity) ** (iteration / self.iterations)
                sparsity = self.sparsity if iteration == self.iterations else 1 - left
                masks = allocated_masks(scores, sparsity, self.scope, masks)
                apply(subject, masks)
        return masks, counted.images


def require_memory_kept(method: SelfDistillation | None, criterion: Criterion, iterations: int = 1) -> None:
    """Raise UserError if a loss that looks back at the update before is to score several batches without updates."""
    looks_back = method is not None and method.mates == "previous"
    several = getattr(criterion, "batches", 1) * iterations > 1
    if looks_back and several and not isinstance(criterion, LooksAhead):
        raise UserError(
            f"{type(method).__name__} looks back at the update before, and {type(criterion).__name__} makes none"
            " between its batches: score with ProsPr, or once on one batch"
        )
