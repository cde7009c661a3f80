"""What the inspection tells of a network's layers and of the features its classifier reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness import network as networks
from harness.context import Context
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.data.prepared import Prepared
from harness.engine import group
from harness.errors import StageError, UserError
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.spec import Json
from harness.stages.inspect import Inspect
from harness.stages.prepare import Prepare
from harness.stages.train import Train

DATA = Prepare(source=Digits())
RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=32))
NETWORK = Train(network=VGG(blocks=((2,),), classes=10), data=DATA, recipe=RECIPE)
"""Never trained: the test brings a network of its own."""

Inspection = Callable[[nn.Module], dict[str, Json]]


@pytest.fixture
def inspection(prepared_digits: Prepared, context: Context, monkeypatch: pytest.MonkeyPatch) -> Inspection:
    """What the stage says of a network, in batches that do not divide the images."""

    def run(network: nn.Module) -> dict[str, Json]:
        monkeypatch.setattr(networks, "read_network", lambda folder, size: network)
        stage = Inspect(network=NETWORK, data=DATA, size=32, batch=77)
        return stage.run({DATA.key: prepared_digits.folder, NETWORK.key: Path("unread")}, context)

    return run


@pytest.fixture
def network() -> nn.Sequential:
    """Half of its first layer is pruned; names in order would not be the order of its layers."""
    torch.manual_seed(0)
    made = nn.Sequential()
    made.add_module("stem", nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6), nn.ReLU()))
    made.add_module("head", nn.Linear(6, 10))
    with torch.no_grad():
        made.get_parameter("stem.1.weight")[:, ::2] = 0.0
    return made


def test_every_layer_tells_what_it_keeps_in_the_networks_order(inspection: Inspection, network: nn.Module) -> None:
    assert inspection(network)["layers"] == [["stem.1.weight", 9216, 18432], ["head.weight", 60, 60]]


def test_features_are_what_the_last_linear_layer_reads(
    inspection: Inspection, network: nn.Sequential, prepared_digits: Prepared, context: Context
) -> None:
    found = inspection(network)
    (batch,) = prepared_digits.eval_stream("val", 32, 1.0, 360, context)
    with torch.no_grad():
        features = network[0](batch.images).double()
    mean_of_own = torch.stack([features[batch.labels == label].mean(0) for label in batch.labels])
    within = float((features - mean_of_own).square().sum(1).mean())
    between = float((mean_of_own - features.mean(0)).square().sum(1).mean())
    expected = {"within": within, "between": between, "compactness": between / (within + between)}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_all_sums_are_added_over_ranks(
    inspection: Inspection, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ranks that see the same half of the images say what one does that sees it twice."""
    whole: Callable[..., Any] = Prepared.eval_stream

    def see_half(times: int) -> None:
        monkeypatch.setattr(Prepared, "eval_stream", lambda *asked: times * list(whole(*asked[:4], 60, asked[5]))[:3])

    see_half(1)
    with pytest.raises(StageError, match="180 images were inspected, val of digits holds 360"):
        inspection(network)
    monkeypatch.setattr(group, "add_over_ranks", lambda values: values.mul_(2))
    both = inspection(network)
    monkeypatch.undo()
    see_half(2)
    assert inspection(network) == both


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        (nn.Sequential(nn.Conv2d(3, 10, 32), nn.Flatten()), "has no linear layer"),
        (nn.Sequential(nn.Linear(32, 2), nn.Flatten()), "does not read one feature vector of each image"),
    ],
)
def test_a_network_without_features_is_refused(inspection: Inspection, network: nn.Module, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        inspection(network)


def test_a_split_that_does_not_exist_gets_no_key() -> None:
    with pytest.raises(UserError, match="unknown split 'test' in Inspect"):
        Inspect(network=NETWORK, data=DATA, size=32, split="test")  # type: ignore[arg-type]
