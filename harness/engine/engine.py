"""What the training loop needs of an engine, and which one a recipe asks for.

Lives here: the `Engine` protocol and `make_engine`. Must not: an engine's own code.
"""

from typing import Protocol

import torch
from torch import nn

from harness.context import Context
from harness.pruning.mask import Masks
from harness.recipe import Recipe


class Engine(Protocol):
    """Runs the network on this rank's micro-batches and keeps all ranks' weights equal."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes), in the recipe's precision."""
        ...

    def update(self, loss: torch.Tensor, lr: float) -> None:
        """Backward of one micro-batch; the weights step after the last one of a global batch."""
        ...

    def momentum(self) -> dict[str, torch.Tensor]:
        """The whole momentum of every parameter by name, in fp32; zeros before the first update. On all ranks."""
        ...

    def set_momentum(self, values: dict[str, torch.Tensor]) -> None:
        """Go on with this momentum."""
        ...

    def remove(self, masks: Masks) -> None:
        """Set the removed weights and their momentum to 0.0 in every copy the engine has. On all ranks."""
        ...

    def close(self) -> None:
        """Let go of the network: hooks off, buffers free."""
        ...


def make_engine(network: nn.Module, recipe: Recipe, context: Context) -> Engine:
    """The engine a recipe names, around a network that is already on its device, pruned weights already zero."""
    accumulation = recipe.accumulation(context.topology.world)
    if recipe.engine == "ddp":
        from harness.engine.ddp import DDPEngine

        return DDPEngine(network, recipe, accumulation)
    from harness.engine._deepspeed import DeepSpeedEngine  # deepspeed takes seconds to import

    return DeepSpeedEngine(network, recipe, accumulation, context.patience_s)
