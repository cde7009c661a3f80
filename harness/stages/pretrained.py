"""Stage `pretrained`: a network with the weights its library publishes.

Lives here: the stage. Must not: names of networks or weights, downloading (`harness.models.torchvision` and `timm`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.models.timm import Timm
from harness.models.torchvision import Torchvision
from harness.spec import Json, Stage


@dataclass(frozen=True, kw_only=True)
class Pretrained(Stage):
    """Downloads the weights, or finds them where the library keeps its downloads; nothing is trained."""

    short: ClassVar[bool] = True
    computes: ClassVar[bool] = False

    network: Torchvision | Timm
    weights: str
    """What the library calls them: `IMAGENET1K_V1` in torchvision, the tag in timm."""

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.cost import parameters
        from harness.network import Architecture, write_weights

        network = self.network.pretrained(self.weights)
        Architecture(self.network).write(context.folder)
        write_weights(network, context.folder)
        return {"parameters": parameters(network)}
