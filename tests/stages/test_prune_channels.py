"""A user prunes the channels of a trained network and trains on."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from harness.context import Context
from harness.cost import macs
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.errors import UserError
from harness.models.vgg import VGG
from harness.network import read_architecture, read_network
from harness.recipe import Recipe
from harness.run import run_stages
from harness.spec import from_json, to_json
from harness.stages.prepare import Prepare
from harness.stages.prune_channels import PruneChannels
from harness.stages.train import Train
from harness.store import Store
from harness.topology import Topology

DATA = Prepare(source=Digits())
RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=32), batch_per_gpu=64, engine="ddp")
DENSE = Train(network=VGG(blocks=((32,), (48, 40)), classes=10), data=DATA, recipe=RECIPE)
HALF = PruneChannels(network=DENSE, reduction=0.5, measure="macs", data=DATA, recipe=RECIPE)
TAYLOR = dataclasses.replace(HALF, importance="taylor", scope="global", measure="parameters")
TWICE = dataclasses.replace(HALF, network=HALF)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run_stages([DATA, DENSE, HALF, TAYLOR], store, Topology(), data=None, workers=1, listener=lambda stage, event: None)
    return store


def payload(store: Store, stage: PruneChannels) -> Mapping[str, Any]:
    found: Mapping[str, Any] = store.manifest(stage)["payload"]
    return found


@pytest.mark.parametrize("stage", [HALF, TAYLOR], ids=["magnitude", "taylor"])
def test_the_manifest_says_what_was_reached_and_the_file_holds_it(store: Store, stage: PruneChannels) -> None:
    reached = payload(store, stage)["reached"]
    assert reached[stage.measure] == pytest.approx(0.5, abs=0.01)
    assert set(reached) == {"macs", "parameters", "channels"}
    dense, narrow = (read_network(store.artefact(one), 32) for one in (DENSE, stage))
    assert reached["macs"] == pytest.approx(1 - macs(narrow, 32) / macs(dense, 32), abs=1e-12)
    assert narrow(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert len(payload(store, stage)["losses"]) == 1


def test_taylor_chooses_other_channels_than_magnitude(store: Store) -> None:
    plain, taylor = (read_architecture(store.artefact(stage)).channels for stage in (HALF, TAYLOR))
    assert plain != taylor


def test_training_starts_without_the_gradients_of_the_scores(
    store: Store, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[torch.Tensor | None] = []

    def fit(stage: Any, architecture: Any, network: torch.nn.Module, *_: Any) -> dict[str, Any]:
        left.extend(parameter.grad for parameter in network.parameters())
        return {}

    monkeypatch.setattr("harness.stages._fit.fit", fit)
    TAYLOR.run({stage.key: store.artefact(stage) for stage in (DENSE, DATA)}, context)
    assert left
    assert not [gradient for gradient in left if gradient is not None]


def test_the_journal_tells_it_on_the_way(store: Store) -> None:
    events = [json.loads(line) for line in store.journal_path(HALF.key).read_text().splitlines()]
    told = next(event for event in events if event["event"] == "reduced")
    assert (told["measure"], told["wanted"]) == ("macs", 0.5)
    assert told["reached"] == payload(store, HALF)["reached"]


def test_a_network_that_has_lost_channels_is_not_pruned_again(store: Store) -> None:
    with pytest.raises(UserError, match="has lost channels already"):
        run_stages([TWICE], store, Topology(), data=None, workers=1, listener=lambda stage, event: None)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"reduction": 0.0}, "not between 0 and 1"),
        ({"reduction": 1.0}, "not between 0 and 1"),
        ({"round_to": 0}, "round_to 0 is below 1"),
        ({"measure": "flops"}, "unknown measure 'flops'"),
        ({"importance": "taylr"}, "did you mean"),
        ({"scope": "uniform"}, "unknown scope"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        dataclasses.replace(HALF, **wrong)


def test_the_spec_survives_json_and_every_choice_changes_the_key() -> None:
    stages = {DENSE.key: DENSE, DATA.key: DATA}
    assert from_json(to_json(TAYLOR), stages.__getitem__) == TAYLOR
    others = [{"reduction": 0.4}, {"measure": "channels"}, {"importance": "lamp"}, {"scope": "global"}, {"round_to": 8}]
    assert len({HALF.key} | {dataclasses.replace(HALF, **other).key for other in others}) == 6  # type: ignore[arg-type]
