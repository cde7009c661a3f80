"""What a network puts out on the way to its logits: features, tapped by module path.

Lives here: `Taps`, and `Outputs`, what a feature method compares. Must not: methods (`harness.distillation`), training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.plugins import did_you_mean


@dataclass(frozen=True)
class Outputs:
    """`logits` [n, classes] of one network for n images, and `features` [n, ...] by module path."""

    logits: Tensor
    features: Mapping[str, Tensor]

    def to(self, dtype: torch.dtype) -> "Outputs":
        """In the precision that losses are computed in."""
        return Outputs(self.logits.to(dtype), {path: feature.to(dtype) for path, feature in self.features.items()})


class Taps:
    """Keeps what some modules of a network put out in its last forward, until it is taken.

    Of a network that learns, only forwards with gradients count: the others are evaluations on the way, whose features
    nobody takes. The hooks sit on the modules themselves, so it does not matter what an engine wraps the network in.
    """

    def __init__(self, network: nn.Module, paths: Sequence[str]) -> None:
        """`paths` as in `named_modules`: "layer4", "features.7". Raises UserError if the network has no such module."""
        self.network, self.paths = network, tuple(paths)
        self._learns = any(parameter.requires_grad for parameter in network.parameters())
        modules = dict(network.named_modules())
        self._kept: dict[str, tuple[Tensor, int]] = {}
        for path in self.paths:
            if path not in modules:
                known = [name for name in modules if name]
                raise UserError(f"the network has no layer {path!r} to tap{did_you_mean(path, known)}")
            modules[path].register_forward_hook(partial(self._keep, path))

    def take(self) -> dict[str, Tensor]:
        """The features of the last forward by path; they are kept no longer, nor is the graph behind them.

        Raises UserError for a module that was not run.
        """
        return {path: feature for path, (feature, _) in self._take().items()}

    @torch.enable_grad()
    def shapes(self, side: int) -> dict[str, tuple[int, ...]]:
        """Shape of every feature of one image of `side` pixels, without the batch. The network stays as it was.

        Raises UserError as `take` does, and for a module whose output another one overwrites.
        """
        network, training = self.network, [module for module in self.network.modules() if module.training]
        image = torch.zeros(1, 3, side, side, device=next(network.parameters()).device)
        try:
            with torch.compiler.set_stance("force_eager"):  # compiled, versions mean nothing; and compiling takes long
                network.eval()(image)
        finally:
            for module in training:
                module.training = True
        kept = self._take()
        for path, (feature, version) in kept.items():
            if feature._version != version:
                raise UserError(f"the layer after {path!r} overwrites its output in place: tap that one instead")
        return {path: tuple(feature.shape[1:]) for path, (feature, _) in kept.items()}

    def _take(self) -> dict[str, tuple[Tensor, int]]:
        kept, self._kept = self._kept, {}
        for path in self.paths:
            if path not in kept:
                raise UserError(f"layer {path!r} was not run in the network's forward: tap another one")
        return {path: kept[path] for path in self.paths}

    def _keep(self, path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if self._learns and not torch.is_grad_enabled():  # torch.compile follows this, but not a look at inference mode
            return
        if not isinstance(output, Tensor):
            raise UserError(f"layer {path!r} puts out a {type(output).__name__}, not a tensor: tap a layer inside it")
        self._kept[path] = (output, output._version)
