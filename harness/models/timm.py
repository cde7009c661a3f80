"""Networks of the timm library, by their name there.

Lives here: the spec `Timm`; only this file imports timm. Must not: networks of our own.
"""

import difflib
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.plugins import did_you_mean

if TYPE_CHECKING:
    from torch import nn

_FILE = "model.safetensors"


@dataclass(frozen=True)
class Timm:
    """`Timm("vit_tiny_patch16_224", classes=10, image_size=32)`: what `timm.create_model` builds of that name."""

    name: str
    """Without the tag of pretrained weights."""
    _: KW_ONLY
    classes: int
    image_size: int | None = None
    """Side in pixels, for networks that are built for one size; None: the size timm gives them."""

    def build(self) -> "nn.Module":
        """A network from (B, 3, S, S) to logits (B, classes), its weights drawn from torch's generator."""
        return self._create()

    def pretrained(self, weights: str) -> "nn.Module":
        """The same network with the published weights of a tag, such as `augreg_in21k`, downloaded where absent.

        Position embeddings are resampled to `image_size`. Raises UserError if there is no such tag, if it is for other
        classes, or out of reach.
        """
        import timm
        from safetensors import SafetensorError

        self._check_name()
        tags = [name.removeprefix(f"{self.name}.") for name in timm.list_pretrained(f"{self.name}.*")]
        if weights not in tags:
            raise UserError(f"timm's {self.name} has no weights {weights!r}{did_you_mean(weights, tags)}")
        published: Any = timm.get_pretrained_cfg(f"{self.name}.{weights}")
        if published.num_classes != self.classes:
            raise UserError(
                f"{weights} of timm's {self.name} are for {published.num_classes} classes, not {self.classes}"
            )
        if not published.hf_hub_id:
            raise UserError(f"timm has {weights} of {self.name} as a pickle only, and those are not read")
        file = _fetched(published.hf_hub_id)
        from_file = {"file": file, "custom_load": False}
        network = self.build()
        try:
            trained = self._create(pretrained=True, pretrained_cfg=weights, pretrained_cfg_overlay=from_file)
            network.load_state_dict(trained.state_dict())  # so that what is published is what `build` describes
        except (RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{file} does not fit timm's {self.name}: remove it if it is damaged ({reason})") from error
        return network

    def _create(self, **pretrained: Any) -> "nn.Module":
        import timm

        self._check_name()
        try:
            network: nn.Module = timm.create_model(
                self.name, num_classes=self.classes, img_size=self.image_size, **pretrained
            )
        except TypeError as error:
            if self.image_size is None:
                raise
            raise UserError(f"timm's {self.name} takes no image_size: leave it out ({error})") from error
        return network

    def _check_name(self) -> None:
        import timm

        known: Iterable[str] = timm.list_models()
        if self.name not in known:
            near = did_you_mean(self.name, difflib.get_close_matches(self.name, known))
            raise UserError(f"timm has no network {self.name!r}{near or ': timm.list_models() names them'}")


def _fetched(repository: str) -> str:
    """The weights of a repository of the Hugging Face hub: from the cache if they are there, else downloaded."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, _FILE)
    if isinstance(cached, str):
        return cached
    try:
        return hf_hub_download(repository, _FILE)
    except Exception as error:  # OSError, or what the hub's HTTP client raises in the middle of a download
        folder = f"models--{repository.replace('/', '--')}"
        raise UserError(
            f"cannot download the weights {repository} ({' '.join(str(error).split())}): "
            f"copy {folder} from such a cache on a machine with a network into {constants.HF_HUB_CACHE}"
        ) from error
