"""How a stage leaves a network.

Lives here: `publish_network`. Must not: what made it.
"""

from pathlib import Path

from torch import nn

from harness.errors import StageError
from harness.network import Architecture, read_network, write_weights
from harness.pruning.mask import Masks, prunable


def publish_network(
    architecture: Architecture, network: nn.Module, folder: Path, masks: Masks, image_size: int
) -> None:
    """Write the network, read it back and see that what `masks` removed is zero in the file."""
    odd = [name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    if odd:
        raise StageError(f"{odd[0]} holds numbers that are not finite after training: lower the learning rate")
    architecture.write(folder)
    write_weights(network, folder)
    saved = prunable(read_network(folder, image_size))
    alive = sum(int(saved[name][~mask.cpu()].count_nonzero()) for name, mask in masks.items())
    if alive:
        raise StageError(f"{alive} weights that were pruned are not zero in the saved file")
