"""Features tapped by module path."""

import copy
import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.context import Context
from harness.data.augment import Augment
from harness.engine.engine import make_engine
from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.taps import Taps

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
STUDENT = ResNet(depth=18, classes=3, widths=(4, 6, 8, 10), stem="cifar", stem_width=4)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return STUDENT.build()


def test_features_are_what_the_layers_put_out_in_the_order_they_were_named(network: nn.Module) -> None:
    taps = Taps(network, ("avgpool", "layer2"))
    logits = network(IMAGES)
    features = taps.take()
    assert list(features) == ["avgpool", "layer2"]
    part = dict(network.named_children())
    torch.testing.assert_close(part["fc"](features["avgpool"].flatten(1)), logits)
    later = part["avgpool"](part["layer4"](part["layer3"](features["layer2"])))
    torch.testing.assert_close(later, features["avgpool"])


def test_features_are_those_of_the_last_forward(network: nn.Module) -> None:
    taps = Taps(network.eval(), ("layer1",))
    network(torch.zeros_like(IMAGES))
    network(IMAGES)
    last = taps.take()["layer1"]
    network(IMAGES)
    assert torch.equal(taps.take()["layer1"], last)


def test_what_was_taken_is_kept_no_longer(network: nn.Module) -> None:
    taps = Taps(network, ("layer1",))
    network(IMAGES)
    feature = weakref.ref(taps.take()["layer1"])
    gc.collect()
    assert feature() is None
    with pytest.raises(UserError, match="layer 'layer1' was not run in the network's forward"):
        taps.take()


def test_nothing_is_kept_of_an_evaluation_on_the_way(network: nn.Module) -> None:
    """A pass over the minival takes no features: those of its last batch must not stay until the next step."""
    taps = Taps(network, ("layer1",))
    seen: list[weakref.ref[Tensor]] = []
    network.get_submodule("layer1").register_forward_hook(lambda *passed: seen.append(weakref.ref(passed[2])))
    with torch.inference_mode():
        network(IMAGES)
    gc.collect()
    assert [feature() for feature in seen] == [None]
    network(IMAGES)
    assert taps.take()["layer1"] is seen[1]()


def test_a_frozen_teacher_is_tapped_without_gradients(network: nn.Module) -> None:
    taps = Taps(network.requires_grad_(False), ("layer1",))
    with torch.no_grad():
        network(IMAGES)
    assert not taps.take()["layer1"].requires_grad


@pytest.mark.parametrize("evaluated_first", [True, False])
def test_a_compiled_network_keeps_the_features_of_steps_alone(network: nn.Module, evaluated_first: bool) -> None:
    taps = Taps(network.eval(), ("layer1",))
    network.compile(dynamic=False, backend="eager", fullgraph=True)  # a tap must not cut the graph
    for evaluated in (evaluated_first, not evaluated_first):
        with torch.inference_mode(evaluated):
            network(IMAGES)
        if evaluated:
            with pytest.raises(UserError, match="was not run"):
                taps.take()
        else:
            assert taps.take()["layer1"].shape == (2, 4, 16, 16)


def test_a_misspelt_layer_is_told_the_nearest(network: nn.Module) -> None:
    with pytest.raises(UserError, match=r"the network has no layer 'layr4' to tap: did you mean 'layer4'\?"):
        Taps(network, ("layer1", "layr4"))


def test_a_layer_that_puts_out_no_tensor_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return images, images

    network = nn.Sequential(Two())
    Taps(network, ("0",))
    with pytest.raises(UserError, match="layer '0' puts out a tuple, not a tensor: tap a layer inside it"):
        network(IMAGES)


def test_a_layer_whose_output_is_overwritten_is_refused_when_shapes_are_asked_for() -> None:
    network = VGG(blocks=((4,),), classes=3).build()
    with pytest.raises(UserError, match=r"the layer after 'features.1' overwrites its output in place: tap that one"):
        Taps(network, ("features.1",)).shapes(16)  # BatchNorm, before a ReLU in place
    assert Taps(network, ("features.2",)).shapes(16) == {"features.2": (4, 16, 16)}


def test_a_compiled_network_has_the_features_of_the_plain_one(network: nn.Module) -> None:
    taps = Taps(network, ("layer1", "avgpool"))  # a ReLU in place ends layer1
    network(IMAGES)
    expected = taps.take()
    network.compile(dynamic=False, backend="aot_eager")
    taps.shapes(16)
    for _ in range(2):
        network(IMAGES)
        found = taps.take()
        for path, feature in expected.items():
            torch.testing.assert_close(found[path], feature)
    found["avgpool"].sum().backward()
    assert network.get_submodule("conv1").weight.grad is not None


@pytest.mark.parametrize("side", [8, 16])
def test_shapes_are_found_without_a_trace(network: nn.Module, side: int) -> None:
    network.get_submodule("layer2").eval()
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    found = Taps(network, ("layer1", "layer3", "avgpool", "fc")).shapes(side)
    assert found == {"layer1": (4, side, side), "layer3": (8, side // 4, side // 4), "avgpool": (10, 1, 1), "fc": (3,)}
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("engine", ["ddp", "deepspeed"])
def test_an_engine_around_the_network_changes_nothing(network: nn.Module, context: Context, engine: Any) -> None:
    taps = Taps(network, ("layer4",))
    network(IMAGES)
    expected = taps.take()["layer4"]
    recipe = Recipe(epochs=1, augment=Augment(crop="none", size=16), global_batch=2, batch_per_gpu=2)
    wrapped = make_engine(network, replace(recipe, engine=engine), context)
    wrapped.forward(IMAGES)
    feature = taps.take()["layer4"]
    torch.testing.assert_close(feature, expected)
    assert feature.requires_grad
    wrapped.close()
