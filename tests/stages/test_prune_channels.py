"""A user prunes the channels of a trained network and trains on."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.context import Context
from harness.cost import macs
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.errors import StageError, UserError
from harness.models.vgg import VGG
from harness.network import read_architecture, read_network, write_weights
from harness.pruning.channel import score_channels
from harness.recipe import Recipe
from harness.run import run_stages
from harness.spec import Stage, from_json, to_json
from harness.stages._decided import CHANNELS
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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run(store, DATA, DENSE, HALF, TAYLOR)
    return store


def run(store: Store, *stages: Stage) -> None:
    run_stages(stages, store, Topology(), data=None, workers=1, listener=lambda stage, event: None)


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


def test_the_images_that_were_scored_on_are_counted(store: Store) -> None:
    passes = {stage: payload(store, stage)["image_passes"] for stage in (HALF, TAYLOR)}
    assert passes[TAYLOR] - passes[HALF] == TAYLOR.scoring_batches * RECIPE.batch_per_gpu == 640


@pytest.fixture
def inputs(store: Store) -> Mapping[str, Path]:
    return {stage.key: store.artefact(stage) for stage in (DENSE, DATA)}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, torch.nn.Module]]:
    """(architecture, network) of whatever gets as far as training, which then is over at once."""
    reached: list[tuple[Any, torch.nn.Module]] = []

    def fit(stage: Any, architecture: Any, network: torch.nn.Module, *_: Any, **__: Any) -> dict[str, Any]:
        reached.append((architecture, network))
        return {"image_passes": 1000}

    monkeypatch.setattr("harness.stages._fit.fit", fit)
    return reached


def test_training_starts_without_the_gradients_of_the_scores(
    inputs: Mapping[str, Path], context: Context, trained: list[tuple[Any, torch.nn.Module]]
) -> None:
    TAYLOR.run(inputs, context)
    ((_, network),) = trained
    assert [parameter.grad for parameter in network.parameters()] == [None] * len(list(network.parameters()))


def test_weights_that_were_pruned_before_stay_so(
    inputs: Mapping[str, Path], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = read_network(inputs[DENSE.key], 32)
    with torch.no_grad():
        sparse.get_parameter("classifier.weight")[:, ::2] = 0
    read_architecture(inputs[DENSE.key]).write(context.folder)
    write_weights(sparse, context.folder)
    held: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr("harness.stages._fit.fit", lambda *_, masks: held.append(masks))
    HALF.run({**inputs, DENSE.key: context.folder}, context)
    assert 0 < held[0]["classifier.weight"].float().mean() < 1
    assert held[0]["features.0.weight"].all()


def test_a_preempted_stage_goes_on_with_what_it_chose_first(
    inputs: Mapping[str, Path],
    context: Context,
    trained: list[tuple[Any, torch.nn.Module]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = TAYLOR.run(inputs, context)
    monkeypatch.setattr("harness.pruning.channel.score_channels", backwards(score_channels))
    again = TAYLOR.run(inputs, context)
    assert again == first
    assert first["image_passes"] == 1640
    ((chosen, network), (chosen_again, network_again)) = trained
    assert chosen_again == chosen
    assert all(map(torch.equal, network.state_dict().values(), network_again.state_dict().values()))
    (context.unfinished / CHANNELS).unlink()
    TAYLOR.run(inputs, context)
    assert trained[2][0] != chosen, "the second attempt would have chosen the same, so nothing was shown"


def backwards(score: Callable[..., dict[str, torch.Tensor]]) -> Callable[..., dict[str, torch.Tensor]]:
    return lambda *arguments: {layer: -scores for layer, scores in score(*arguments).items()}


def test_a_finished_stage_leaves_no_choice_behind(store: Store) -> None:
    assert not store.unfinished(TAYLOR).exists()


def test_a_choice_that_is_damaged_is_named(inputs: Mapping[str, Path], context: Context) -> None:
    context.unfinished.mkdir()
    (context.unfinished / CHANNELS).write_text("{")
    with pytest.raises(UserError, match=rf"{CHANNELS} is damaged .*: delete its folder and run the same command again"):
        HALF.run(inputs, context)


@pytest.mark.parametrize("own", [None, UserError("nothing to remove"), StageError("the loss is nan")])
def test_what_rank_0_has_chosen_counts_whatever_happens_elsewhere(
    inputs: Mapping[str, Path],
    context: Context,
    trained: list[tuple[Any, torch.nn.Module]],
    monkeypatch: pytest.MonkeyPatch,
    own: Exception | None,
) -> None:
    HALF.run(inputs, context)
    told = json.loads((context.unfinished / CHANNELS).read_text())
    elsewhere = on_rank_1(context, hears=told, monkeypatch=monkeypatch)
    otherwise = failing(own) if own else backwards(score_channels)
    monkeypatch.setattr("harness.pruning.channel.score_channels", otherwise)
    HALF.run(inputs, elsewhere)
    assert trained[1][0].channels == trained[0][0].channels == told["record"]
    assert not elsewhere.unfinished.exists(), "only rank 0 writes"


@pytest.mark.parametrize("error", [UserError("nothing to remove"), StageError("the loss is nan")])
def test_what_rank_0_fails_at_ends_every_rank_with_its_reason(
    inputs: Mapping[str, Path], context: Context, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    told: list[Any] = []

    def tell(value: Any) -> Any:
        told.append(value)
        return value

    with monkeypatch.context() as patch:
        patch.setattr("harness.pruning.channel.score_channels", failing(error))
        patch.setattr("harness.stages._decided.from_rank_0", tell)
        with pytest.raises(type(error), match=str(error)):
            HALF.run(inputs, context)
    elsewhere = on_rank_1(context, hears=told[0], monkeypatch=monkeypatch)
    with pytest.raises(type(error), match=str(error)):
        HALF.run(inputs, elsewhere)


def failing(error: Exception) -> Callable[..., None]:
    def score(*_: Any) -> None:
        raise error

    return score


def on_rank_1(context: Context, *, hears: Any, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Another rank, whose disk is its own and to which rank 0 says what it `hears`."""
    monkeypatch.setattr("harness.stages._decided.from_rank_0", lambda value: hears)
    topology = Topology(rank=1, world=2)
    return dataclasses.replace(context, topology=topology, unfinished=context.unfinished / "elsewhere")


def test_the_journal_tells_it_on_the_way(store: Store) -> None:
    events = [json.loads(line) for line in store.journal_path(HALF.key).read_text().splitlines()]
    told = next(event for event in events if event["event"] == "reduced")
    assert (told["measure"], told["wanted"]) == ("macs", 0.5)
    assert told["reached"] == payload(store, HALF)["reached"]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"channels": {"groups": []}}, "has lost channels already: prune the dense network"),
        ({"softness": {"divisor": 2.0}}, "is softened, .*: prune the network it was made from"),
    ],
)
def test_a_network_that_is_more_than_its_model_is_refused(
    inputs: Mapping[str, Path], context: Context, more: dict[str, Any], complaint: str
) -> None:
    dataclasses.replace(read_architecture(inputs[DENSE.key]), **more).write(context.folder)
    with pytest.raises(UserError, match=f"^train {DENSE.key[:12]} {complaint}$"):
        HALF.run({**inputs, DENSE.key: context.folder}, context)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"reduction": 0.0}, "not between 0 and 1"),
        ({"reduction": 1.0}, "not between 0 and 1"),
        ({"scoring_batches": 0}, "scoring_batches 0 are none"),
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
    others = [
        {"reduction": 0.4},
        {"measure": "channels"},
        {"importance": "lamp"},
        {"scope": "global"},
        {"round_to": 8},
        {"scoring_batches": 20},
    ]
    assert len({HALF.key} | {dataclasses.replace(HALF, **other).key for other in others}) == 7  # type: ignore[arg-type]


def test_the_ten_batches_of_old_are_no_new_key() -> None:
    assert "scoring_batches" not in to_json(TAYLOR)
    assert '"scoring_batches": 20' in to_json(dataclasses.replace(TAYLOR, scoring_batches=20))
