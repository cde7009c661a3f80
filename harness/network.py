"""A network on disk: what it is made of, and its weights.

Lives here: writing and reading `network.json` and `weights.safetensors`. Must not: training, pruning.

`network.json` holds the architecture spec and, for a channel-pruned network, the record that is replayed on a
freshly built one. Weights are safetensors; nothing is pickled.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from harness.errors import UserError
from harness.softness import Softened
from harness.spec import Json, encode, model_from_json

ARCHITECTURE, WEIGHTS = "network.json", "weights.safetensors"


@dataclass(frozen=True)
class Architecture:
    """A model spec, plus the channels removed from it and what softens its predictions, if any."""

    model: Any
    channels: Json = None
    softness: Json = None
    """Arguments of `harness.softness.Softened`."""

    def build(self, image_size: int) -> nn.Module:
        """A freshly initialised network of this architecture."""
        network: nn.Module = self.model.build()
        if self.channels is not None:
            from harness.pruning.channel import replay  # which takes seconds to import

            replay(network, self.channels, torch.zeros(1, 3, image_size, image_size))
        return network if self.softness is None else Softened(network, **self.softness)

    def write(self, folder: Path) -> None:
        """Leave `network.json` in the folder."""
        form = {"model": encode(self.model), "channels": self.channels, "softness": self.softness}
        (folder / ARCHITECTURE).write_text(json.dumps(form, sort_keys=True, indent=1) + "\n")


def place(network: nn.Module, device: str, *, channels_last: bool, compiled: bool = False) -> nn.Module:
    """Move a network, in place, to a device and into the memory format its images come in.

    `compiled` has torch.compile translate it at its first call, names and tensors unchanged; not on a CPU, where that
    takes a minute and gains little.
    """
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    if compiled and device != "cpu":
        network.compile(dynamic=False)  # or kernels would depend on which sizes came before: not those of a resumed run
    return network.to(device, memory_format=memory_format)  # type: ignore[call-overload,no-any-return]  # not in stubs


def read_architecture(folder: Path) -> Architecture:
    """Inverse of `Architecture.write`."""
    form = json.loads((folder / ARCHITECTURE).read_text())
    return Architecture(model_from_json(form["model"]), form["channels"], form.get("softness"))


def write_weights(network: nn.Module, folder: Path) -> None:
    """Leave all parameters and buffers, in full precision and row-major, in the folder."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)


def read_network(folder: Path, image_size: int) -> nn.Module:
    """The network of an artefact, built and filled, on the CPU."""
    network = read_architecture(folder).build(image_size)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, OSError) as error:
        raise UserError(f"{folder / WEIGHTS} does not fit its {ARCHITECTURE}: {str(error).splitlines()[0]}") from error
    return network
