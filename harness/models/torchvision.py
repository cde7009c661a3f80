"""Classification networks of the torchvision library, by their name there.

Lives here: the spec `Torchvision`; only this file and `harness.data` import torchvision. Must not: networks of our own.
"""

import re
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.plugins import did_you_mean

if TYPE_CHECKING:
    from torch import nn

_AUXILIARY, _VERSIONED = "puts out auxiliary logits in training", "loads weights from torch's own files only"
_UNFIT = {
    "googlenet": _AUXILIARY,
    "inception_v3": _AUXILIARY,
    **dict.fromkeys(("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"), _VERSIONED),
}


@dataclass(frozen=True)
class Torchvision:
    """`Torchvision("mobilenet_v2", classes=200)`: what `torchvision.models.get_model` builds of that name."""

    name: str
    _: KW_ONLY
    classes: int

    def build(self) -> "nn.Module":
        """A network from (B, 3, S, S) to logits (B, classes), its weights drawn from torch's generator."""
        from torchvision import models

        known = models.list_models(module=models)
        if self.name not in known:
            raise UserError(f"torchvision has no classification network {self.name!r}{did_you_mean(self.name, known)}")
        if self.name in _UNFIT:
            raise UserError(f"torchvision's {self.name} {_UNFIT[self.name]}: take another, such as timm's of that kind")
        network: nn.Module = models.get_model(self.name, weights=None, num_classes=self.classes)
        return network

    def pretrained(self, weights: str) -> "nn.Module":
        """The same network with weights the library publishes, such as `IMAGENET1K_V1`, downloaded where absent.

        Raises UserError if there are none of that name, for these classes, or within reach.
        """
        from torchvision import models

        network = self.build()
        published = {choice.name: choice for choice in models.get_model_weights(self.name)}  # without the alias DEFAULT
        if weights not in published:
            raise UserError(f"torchvision's {self.name} has no weights {weights!r}{did_you_mean(weights, published)}")
        trained_on = len(published[weights].meta["categories"])
        if trained_on != self.classes:
            raise UserError(f"{weights} of torchvision's {self.name} are for {trained_on} classes, not {self.classes}")
        state = _state(published[weights])
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{weights} do not fit torchvision's {self.name} ({reason}): choose others") from error
        return network


def _state(weights: Any) -> dict[str, Any]:
    """The tensors of a `WeightsEnum` member, from torch's hub folder or the network; no code in the file is run."""
    from torch import hub

    file = Path(hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        state: dict[str, Any] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # a damaged file ends in whatever its bytes happen to ask of the unpickler
        reason = " ".join(str(error).split())
        if file.exists():
            raise UserError(f"cannot read the weights in {file}: put {weights.url} there again ({reason})") from error
        raise UserError(f"no weights in {file} and no download ({reason}): put {weights.url} there") from error
    return {_present_name(name): tensor for name, tensor in state.items()}


def _present_name(name: str) -> str:
    """DenseNet's files call layers `norm.1` that are `norm1` in today's modules."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)", r"\1\2", name)
