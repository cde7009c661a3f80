"""A user starts from weights that a library publishes: here in its folder of downloads, or out of reach."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn

from harness.context import Context
from harness.errors import UserError
from harness.models.timm import Timm
from harness.models.torchvision import Torchvision
from harness.network import read_network
from harness.stages.pretrained import Pretrained

SHUFFLENET = Torchvision("shufflenet_v2_x0_5", classes=1000)
SHUFFLENET_FILE = "shufflenetv2_x0.5-f707e7126e.pth"
"""What torchvision calls its download."""


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps its downloads; nothing can be downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", _no_network)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where timm keeps its downloads; nothing can be downloaded."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def _no_network(*_: Any, **__: Any) -> None:
    raise OSError("no route to host")


def published(network: Torchvision | Timm, weights: str, context: Context, size: int) -> dict[str, torch.Tensor]:
    """What the stage leaves for the stages behind it."""
    Pretrained(network=network, weights=weights).run({}, context)
    return read_network(context.folder, size).state_dict()


def place_in_hub(hub: Path, name: str, network: nn.Module) -> None:
    """As the hub's own client lays out a download."""
    home = hub / f"models--timm--{name}"
    (home / "snapshots" / "0123").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0123")
    save_file(network.state_dict(), home / "snapshots" / "0123" / "model.safetensors")


def test_weights_that_torchvision_has_downloaded_are_published(downloads: Path, context: Context) -> None:
    state = torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict()
    torch.save(state, downloads / SHUFFLENET_FILE)
    found = published(SHUFFLENET, "IMAGENET1K_V1", context, 32)
    assert list(found) == list(state)
    assert all(torch.equal(found[tensor], state[tensor]) for tensor in state)


def test_the_old_names_of_densenets_layers_are_understood(downloads: Path, context: Context) -> None:
    state = torchvision.models.densenet121(weights=None).state_dict()
    old = {name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value for name, value in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, downloads / "densenet121-a639ec97.pth")
    found = published(Torchvision("densenet121", classes=1000), "IMAGENET1K_V1", context, 32)
    assert all(torch.equal(found[tensor], state[tensor]) for tensor in state)


def test_what_cannot_be_downloaded_is_asked_for_by_file_and_place(downloads: Path, context: Context) -> None:
    with pytest.raises(UserError) as caught:
        published(SHUFFLENET, "IMAGENET1K_V1", context, 32)
    message = str(caught.value)
    assert f"no weights in {downloads / SHUFFLENET_FILE}" in message
    assert f"put https://download.pytorch.org/models/{SHUFFLENET_FILE} there" in message
    assert "\n" not in message
    assert not list(context.folder.glob("*.safetensors"))


class _Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", ["code", "half", "page"])
def test_a_file_that_is_not_plain_weights_is_refused_and_runs_nothing(
    content: str, downloads: Path, context: Context, tmp_path: Path
) -> None:
    file = downloads / SHUFFLENET_FILE
    if content == "code":
        torch.save({"conv1.0.weight": _Trap(tmp_path / "sprung")}, file)
    elif content == "half":
        torch.save({"conv1.0.weight": torch.ones(100)}, file)
        file.write_bytes(file.read_bytes()[:500])
    else:
        file.write_text("<html>sign in to the network</html>")
    with pytest.raises(UserError, match=f"cannot read the weights in {file}: put https://.* there again") as caught:
        published(SHUFFLENET, "IMAGENET1K_V1", context, 32)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_network_are_refused(downloads: Path, context: Context) -> None:
    torch.save({"fc.weight": torch.ones(2, 2)}, downloads / SHUFFLENET_FILE)
    with pytest.raises(UserError, match="do not fit torchvision's shufflenet_v2_x0_5") as caught:
        published(SHUFFLENET, "IMAGENET1K_V1", context, 32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("network", "weights", "complaint"),
    [
        (Torchvision("resnet50", classes=1000), "IMAGENET1K_V3", "did you mean 'IMAGENET1K_V"),
        (Torchvision("resnet50", classes=1000), "DEFAULT", "no weights 'DEFAULT'"),  # what it means moves
        (Torchvision("resnet50", classes=10), "IMAGENET1K_V1", "are for 1000 classes, not 10"),
        (Timm("test_vit", classes=1000), "r161_in1k", "did you mean 'r160_in1k'"),
        (Timm("test_vit", classes=10), "r160_in1k", "are for 1000 classes, not 10"),
        (Timm("gcvit_xxtiny", classes=1000), "in1k", "as a pickle only"),
    ],
)
def test_weights_that_are_not_published_are_refused(
    network: Torchvision | Timm, weights: str, complaint: str, downloads: Path, hub: Path, context: Context
) -> None:
    with pytest.raises(UserError, match=complaint):
        Pretrained(network=network, weights=weights).run({}, context)


def test_weights_that_timm_has_downloaded_are_published_without_asking_the_hub(
    hub: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: pytest.fail("the hub was asked"))
    network = Timm("test_vit", classes=1000).build()
    place_in_hub(hub, "test_vit.r160_in1k", network)
    found, state = published(Timm("test_vit", classes=1000), "r160_in1k", context, 160), network.state_dict()
    assert list(found) == list(state)
    assert all(torch.equal(found[tensor], state[tensor]) for tensor in state)


def test_timm_adapts_a_vision_transformer_to_smaller_images(hub: Path, context: Context) -> None:
    network = Timm("test_vit", classes=1000).build()
    place_in_hub(hub, "test_vit.r160_in1k", network)
    found = published(Timm("test_vit", classes=1000, image_size=32), "r160_in1k", context, 32)
    assert found["pos_embed"].shape[1] < network.state_dict()["pos_embed"].shape[1]
    assert torch.equal(found["head.weight"], network.state_dict()["head.weight"])


def test_what_timm_cannot_download_is_asked_for_by_folder_and_place(hub: Path, context: Context) -> None:
    with pytest.raises(UserError) as caught:
        published(Timm("test_vit", classes=1000), "r160_in1k", context, 160)
    message = str(caught.value)
    assert "copy models--timm--test_vit.r160_in1k from such a cache" in message and str(hub) in message
    assert "\n" not in message


def test_timms_weights_of_another_network_are_refused(hub: Path, context: Context) -> None:
    place_in_hub(hub, "test_vit.r160_in1k", Timm("test_vit2", classes=1000).build())
    with pytest.raises(UserError, match="does not fit timm's test_vit") as caught:
        published(Timm("test_vit", classes=1000), "r160_in1k", context, 160)
    assert "\n" not in str(caught.value)
