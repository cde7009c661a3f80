"""A pruned teacher's softness is measured, and a dense one is given it as a control."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.context import Context
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.data.prepared import Prepared
from harness.errors import UserError
from harness.journal import Journal
from harness.models.torchvision import Torchvision
from harness.models.vgg import VGG
from harness.network import read_network
from harness.recipe import Recipe
from harness.run import run_stages
from harness.spec import Stage
from harness.stages.evaluate import Evaluate, epoch_rule
from harness.stages.prepare import Prepare
from harness.stages.pretrained import Pretrained
from harness.stages.prune import Prune
from harness.stages.smoothing import Smoothing
from harness.stages.soften import Soften
from harness.stages.train import Train
from harness.store import Store
from harness.topology import Topology
from tests.distributed.ranks import run_ranks

DATA = Prepare(source=Digits())
RECIPE = Recipe(
    epochs=5, augment=Augment(crop="none", size=32), global_batch=128, batch_per_gpu=128, lr=0.2, engine="ddp"
)
DENSE = Train(network=VGG(blocks=((8,), (12,)), classes=10), data=DATA, recipe=RECIPE)
PRUNED = Prune(network=DENSE, criterion=Magnitude(), sparsity=0.7, data=DATA, recipe=replace(RECIPE, epochs=1, lr=0.02))
MET: dict[str, Any] = {"data": DATA, "augment": RECIPE.augment, "seed": 0}
MEASURED = Smoothing(network=PRUNED, dense=DENSE, **MET)
UNIFORM = Soften(network=DENSE, like=PRUNED, by="uniform", temperature=1.0, **MET)
TEMPERED = replace(UNIFORM, by="temperature")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run(store, DATA, DENSE, PRUNED, MEASURED, UNIFORM, TEMPERED)
    return store


def run(store: Store, *stages: Stage) -> list[dict[str, Any]]:
    run_stages(stages, store, Topology(), data=None, workers=1, listener=lambda stage, event: None)
    return [store.manifest(stage)["payload"] for stage in stages]


def alone(folder: Path) -> Context:
    return Context(topology=Topology(), device="cpu", folder=folder, unfinished=folder / "u", journal=Journal(None))


def evaluated(store: Store, network: Stage, split: Any = "train") -> dict[str, Any]:
    return run(store, Evaluate(network=network, data=DATA, size=32, split=split))[0]


def test_a_network_pruned_hard_is_a_step_towards_uniform(store: Store) -> None:
    found = store.manifest(MEASURED)["payload"]
    assert 0 < found["smoothing"]["1"] < 1
    assert 0 < found["share"]["1"] < 1
    assert evaluated(store, PRUNED)["entropy"] > evaluated(store, DENSE)["entropy"]


def test_a_network_against_itself_takes_no_step(store: Store) -> None:
    (found,) = run(store, replace(MEASURED, network=DENSE))
    assert found == {"smoothing": {"1": 0.0, "10": 0.0}, "share": {"1": 0.0, "10": 0.0}}


def test_mixed_with_uniform_the_dense_teacher_has_taken_that_step(store: Store) -> None:
    wanted = store.manifest(MEASURED)["payload"]["smoothing"]["1"]
    assert store.manifest(UNIFORM)["payload"]["smoothing"] == wanted
    (found,) = run(store, replace(MEASURED, network=UNIFORM))
    assert found["smoothing"]["1"] == pytest.approx(wanted, abs=1e-4)
    assert found["share"]["1"] == pytest.approx(1.0, abs=1e-4)


def test_tempered_the_dense_teacher_is_as_unsure_as_the_pruned_one(store: Store) -> None:
    assert evaluated(store, TEMPERED)["entropy"] == pytest.approx(evaluated(store, PRUNED)["entropy"], rel=2e-3)
    assert store.manifest(TEMPERED)["payload"]["divisor"] > 1


@pytest.mark.parametrize("control", [UNIFORM, TEMPERED], ids=["uniform", "temperature"])
def test_a_softened_teacher_guesses_as_before(store: Store, control: Stage) -> None:
    soft, dense = evaluated(store, control, "val"), evaluated(store, DENSE, "val")
    assert soft["hits1"] == dense["hits1"] and soft["confidence"] < dense["confidence"]
    assert (soft["parameters"], soft["macs"], soft["seed"]) == (dense["parameters"], dense["macs"], 0)


def test_a_softened_file_holds_the_dense_weights(store: Store) -> None:
    soft = read_network(store.artefact(UNIFORM), 32).state_dict()
    dense = read_network(store.artefact(DENSE), 32).state_dict()
    assert all(torch.equal(tensor, soft[f"network.{name}"]) for name, tensor in dense.items())


def test_two_ranks_measure_what_one_does(store: Store, tmp_path: Path) -> None:
    shared = Store(tmp_path / "shared")
    stages = [DATA, DENSE, PRUNED]
    shared.write_specs(stages)
    for stage in stages:
        shared.artefact(stage).parent.mkdir(parents=True)
        shared.artefact(stage).symlink_to(store.artefact(stage))
    whole = Evaluate(network=PRUNED, data=DATA, size=32, teacher=DENSE)
    for code, output in run_ranks([MEASURED, TEMPERED, whole], shared, 2):
        assert code == 0, output
    run(store, whole)
    for stage in (MEASURED, TEMPERED, whole):
        assert shared.manifest(stage)["payload"] == store.manifest(stage)["payload"]


def test_agreement_is_counted_against_the_teacher(store: Store, tmp_path: Path) -> None:
    itself, other = run(store, *(Evaluate(network=n, data=DATA, size=32, teacher=DENSE) for n in (DENSE, PRUNED)))
    assert itself["agreed"] == 360
    one, two = (read_network(store.artefact(stage), 32).eval() for stage in (DENSE, PRUNED))
    with torch.no_grad():
        prepared = Prepared(store.artefact(DATA))
        batches = prepared.eval_stream("val", 32, 1.0, 60, alone(tmp_path))
        agreed = sum(int((one(b.images).argmax(1) == two(b.images).argmax(1)).sum()) for b in batches)
    assert other["agreed"] == agreed < 360
    assert evaluated(store, DENSE)["agreed"] is None


def test_the_row_of_a_softened_teacher_says_which_epoch_it_is() -> None:
    assert epoch_rule(TEMPERED) == epoch_rule(DENSE) == "last"
    best = replace(TEMPERED, network=replace(DENSE, recipe=replace(RECIPE, keep="best")))
    assert epoch_rule(best) == "best on minival"
    assert epoch_rule(Pretrained(network=Torchvision("resnet18", classes=1000), weights="IMAGENET1K_V1")) == "published"


def test_softening_twice_is_refused() -> None:
    with pytest.raises(UserError, match="not softened again"):
        replace(UNIFORM, network=TEMPERED)


def test_a_misspelt_control_is_refused() -> None:
    with pytest.raises(UserError, match="unknown by 'temperatur' in Soften: did you mean 'temperature'"):
        replace(UNIFORM, by="temperatur")  # type: ignore[arg-type]
