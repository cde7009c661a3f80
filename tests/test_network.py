"""A network is compiled where that pays, and remains the network it was."""

import pytest
import torch
from torch import nn

from harness.models.vgg import VGG
from harness.network import place


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks that were handed to the compiler."""
    found: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: found.append(self))
    return found


@pytest.mark.parametrize(("device", "asked", "expected"), [("cpu", True, 0), ("meta", True, 1), ("meta", False, 0)])
def test_compiled_on_request_and_never_on_a_cpu(
    compiled: list[nn.Module], device: str, asked: bool, expected: int
) -> None:
    """`meta` stands for any device that is no CPU."""
    network = VGG(blocks=((4,),), classes=3).build()
    place(network, device, channels_last=True, compiled=asked)
    assert len(compiled) == expected
    assert next(network.parameters()).device.type == device


def test_a_compiled_network_keeps_its_names_and_answers() -> None:
    torch.manual_seed(0)
    network = VGG(blocks=((4,),), classes=3).build().eval()
    images, names = torch.randn(2, 3, 8, 8), list(network.state_dict())
    expected = network(images)
    network.compile(backend="aot_eager")
    torch.testing.assert_close(network(images), expected)
    assert list(network.state_dict()) == names
