"""The gradients that score channels by what the loss would lose with them.

Lives here: `add_loss_gradients`. Must not: scores (`harness.pruning.channel`).
"""

from collections.abc import Iterable

import torch
from torch import nn

from harness.batch import Batch
from harness.contracts import Objective
from harness.errors import StageError
from harness.objective import loss


@torch.enable_grad()
def add_loss_gradients(model: nn.Module, batches: Iterable[Batch], objective: Objective) -> None:
    """Add the gradients of the mean loss of each batch to every parameter's `.grad`.

    In evaluation mode, in which the network stays: running statistics do not move. Raises StageError if a loss is not
    finite.
    """
    model.eval()
    for batch in batches:
        found = loss(objective, model, batch)
        if not found.isfinite():
            raise StageError(f"the loss is {found.item()} before any channel is removed: train the dense network again")
        found.backward()  # type: ignore[no-untyped-call]
