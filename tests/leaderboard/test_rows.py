"""Rows: read off finished stages, one for every entry and seed, with what it all cost."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from harness.benchmark import Entry, Suite, over_seeds
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.kd import KD
from harness.errors import UserError
from harness.leaderboard.rows import collect, read_rows
from harness.leaderboard.summary import total_cost
from harness.models.torchvision import Torchvision
from harness.models.vgg import VGG
from harness.plan import make_plan
from harness.recipe import Recipe
from harness.row import Row, from_json, to_json
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.inspect import Inspect
from harness.stages.prepare import Prepare
from harness.stages.pretrained import Pretrained
from harness.stages.prune import Prune
from harness.stages.prune_early import PruneEarly
from harness.stages.retrain import Retrain
from harness.stages.smoothing import Smoothing
from harness.stages.student import Student
from harness.stages.train import Train
from harness.store import Store
from tests.leaderboard.toy import ROW

DATA = Prepare(source=Digits())
RECIPE = Recipe(epochs=1, augment=Augment(crop="none", size=32))
SEEN = {
    "n": 1000, "hits1": 915, "hits5": 990, "parameters": 12345, "nonzeros": 1234,
    "sparsity": 0.9, "macs": 10**9, "dataset": "digits", "fingerprint": "these", "epoch_rule": "last",
    "confidence": 0.9, "entropy": 0.25, "nll": 0.3, "ece": 0.02, "margin": 0.8, "logit_std": 2.5, "agreed": None,
}  # fmt: skip
LEARNT = SEEN | {
    "n": 4000, "hits1": 3900,
    "confidence": 0.99, "entropy": 0.05, "nll": 0.08, "ece": 0.01, "margin": 0.97, "logit_std": 3.5,
}  # fmt: skip
"""What is seen on training images: a network is right more often, and surer of it."""
LAYERS = [["stem.weight", 10, 20], ["head.weight", 5, 10]]
MADE = {
    "ranks": 4,
    "seconds": 20.0,
    "device_seconds": 80.0,
    "device": "cpu",
    "git_hash": None,
    "git_dirty": None,
    "versions": {},
}


def two_teachers(seed: int) -> Suite:
    """A dense teacher, and a pruned one that is compared with it and asked for more than its accuracy."""
    dense = Train(network=VGG(blocks=((4,),), classes=10), data=DATA, recipe=RECIPE, seed=seed)
    pruned = Prune(network=dense, criterion=Magnitude(), sparsity=0.5, data=DATA, recipe=RECIPE, seed=seed)
    return Suite(
        entries=(
            Entry(
                name="dense",
                evaluate=Evaluate(network=dense, data=DATA, size=32, teacher=pruned),
                promised=90.0,
                source="a paper",
            ),
            Entry(
                name="pruned",
                evaluate=Evaluate(network=pruned, data=DATA, size=32, teacher=dense),
                train=Evaluate(network=pruned, data=DATA, size=32, split="train"),
                smoothing=Smoothing(network=pruned, dense=dense, data=DATA, augment=RECIPE.augment, seed=seed),
                inspect=Inspect(network=pruned, data=DATA, size=32),
                against=("dense",),
            ),
        ),
        protocol="toys",
    )


SUITE = over_seeds([two_teachers(0), two_teachers(1)])
_, _, PRUNED, _ = SUITE.entries


def finish(store: Store, stage: Stage, **payload: Any) -> None:
    """Publish a stage as if it had been run."""
    with store.aside(stage) as folder:
        store.publish(stage, folder, payload, MADE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where everything is finished but the evaluations."""
    store = Store(tmp_path / "store")
    for step in make_plan(SUITE.wanted, store):
        if step.stage.name in ("train", "prune"):
            finish(store, step.stage, image_passes=1437, losses=[2.5, 1.25])
        elif step.stage.name == "prepare":
            finish(store, step.stage)
        elif step.stage.name == "smoothing":
            finish(store, step.stage, smoothing={"1": 0.01, "10": 0.2}, share={"1": 0.3, "10": 0.4})
        elif step.stage.name == "inspect":
            finish(store, step.stage, layers=LAYERS, within=3.0, between=1.0, compactness=0.25)
    return store


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def evaluate(store: Store, entry: Entry, **found: Any) -> None:
    """Finish the evaluations of an entry."""
    finish(store, entry.evaluate, **{**SEEN, "seed": entry.seed, **found})
    if entry.train is not None:
        finish(store, entry.train, **{**LEARNT, "seed": entry.seed})


def rows_of(store: Store, results: Path) -> list[Row]:
    assert collect("toy", "full", SUITE, store, results) == 0
    return read_rows("toy", "full", {entry.evaluate.key for entry in SUITE.entries}, results)


def test_every_seed_of_every_entry_has_a_row_in_the_order_of_the_suite(store: Store, results: Path) -> None:
    for entry in SUITE.entries:
        evaluate(store, entry)
    rows = rows_of(store, results)
    assert [(row.entry, row.seed, row.position) for row in rows] == [
        ("dense", 0, 0), ("dense", 1, 0), ("pruned", 0, 1), ("pruned", 1, 1),
    ]  # fmt: skip
    dense = rows[0]
    assert (dense.top1, dense.top5, dense.top1_low, dense.top1_high) == (91.5, 99.0, 89.6087, 93.0737)
    assert (dense.promised, dense.source, dense.protocol, dense.epoch_rule) == (90.0, "a paper", "toys", "last")
    assert (dense.train_top1, dense.train_nll, dense.gap, dense.agreement, dense.smoothing) == (None,) * 5
    assert (dense.compactness, dense.layers, dense.gradient_flow) == (None,) * 3


def test_an_entry_may_ask_for_more_than_accuracy(store: Store, results: Path) -> None:
    for entry in SUITE.entries:
        evaluate(store, entry, agreed=950)
    row = rows_of(store, results)[2]
    assert (row.train_top1, row.gap, row.agreement) == (97.5, 6.0, 95.0)
    assert (row.train_confidence, row.train_entropy, row.train_nll) == (0.99, 0.05, 0.08)
    assert (row.train_ece, row.train_margin, row.train_logit_std) == (0.01, 0.97, 3.5)
    assert (row.confidence, row.nll) == (0.9, 0.3)
    assert (row.smoothing, row.smoothing_share) == (0.01, 0.3)
    assert (row.smoothing_t10, row.smoothing_share_t10) == (0.2, 0.4)
    assert (row.compactness, row.layers, row.losses) == (0.25, LAYERS, [2.5, 1.25])
    assert (row.against, row.teacher_nonzeros) == (["dense"], None)


def test_a_formed_student_stands_beside_its_teacher(store: Store, results: Path) -> None:
    """Both counts: its own parameters, and the weights that the network it is read off has left."""
    form = Student(like=PRUNED.evaluate.network)
    network = Train(network=form, data=DATA, recipe=RECIPE)
    entry = Entry(name="formed", evaluate=Evaluate(network=network, data=DATA, size=32))
    finish(store, form, teacher_nonzeros=77)
    finish(store, network, image_passes=1437)
    evaluate(store, entry)
    assert collect("toy", "formed", Suite(entries=(entry,)), store, results) == 0
    (row,) = read_rows("toy", "formed", {entry.evaluate.key}, results)
    assert (row.parameters, row.teacher_nonzeros) == (12345, 77)
    assert row.stages[network.key] == ["train", 1437, 80.0]


def test_a_network_costs_what_it_and_its_ancestors_took(store: Store, results: Path) -> None:
    """Four ranks for 20 seconds; neither the data nor any evaluation is counted, nor who it is compared with."""
    for entry in SUITE.entries:
        evaluate(store, entry)
    dense, _, pruned, _ = rows = rows_of(store, results)
    assert (dense.image_passes, dense.device_seconds) == (1437, 80.0)
    assert (pruned.image_passes, pruned.device_seconds) == (2 * 1437, 160.0)
    assert sorted(pruned.stages.values()) == [["prune", 1437, 80.0], ["train", 1437, 80.0]]
    assert (total_cost(rows)["image_passes"], total_cost(rows)["image_passes_alone"]) == (4 * 1437, 6 * 1437)


def test_published_weights_are_listed_with_nothing_spent(store: Store, results: Path) -> None:
    published = Pretrained(network=Torchvision("shufflenet_v2_x0_5", classes=10), weights="IMAGENET1K_V1")
    pruned = Prune(network=published, criterion=Magnitude(), sparsity=0.5, data=DATA, recipe=RECIPE)
    entry = Entry(name="pruned", evaluate=Evaluate(network=pruned, data=DATA, size=32))
    finish(store, published, parameters=12345)
    finish(store, pruned, image_passes=1437)
    evaluate(store, entry)
    assert collect("toy", "published", Suite(entries=(entry,)), store, results) == 0
    (row,) = read_rows("toy", "published", {entry.evaluate.key}, results)
    assert row.stages == {published.key: ["pretrained", 0, 0.0], pruned.key: ["prune", 1437, 80.0]}
    assert (row.image_passes, row.device_seconds) == (1437, 80.0)


def pruned_early(store: Store, flow: float | None, seed: int, layers_like: Stage | None = None) -> PruneEarly:
    """A finished one, with its gradient flow."""
    stage = PruneEarly(
        network=VGG(blocks=((4,),), classes=10), criterion=Magnitude(), sparsity=0.5, data=DATA,
        augment=RECIPE.augment, layers_like=layers_like, seed=seed,
    )  # fmt: skip
    finish(store, stage, gradient_flow=flow)
    return stage


def row_of(store: Store, results: Path, *networks: Stage) -> Row:
    """Of the last network; all are finished."""
    for network in networks:
        finish(store, network, image_passes=1437)
    entry = Entry(name="it", evaluate=Evaluate(network=networks[-1], data=DATA, size=32))
    evaluate(store, entry)
    assert collect("toy", "one", Suite(entries=(entry,)), store, results) == 0
    (row,) = read_rows("toy", "one", {entry.evaluate.key}, results)
    return row


def test_a_network_pruned_at_initialisation_tells_what_that_did_to_its_gradient(store: Store, results: Path) -> None:
    trained = Train(network=pruned_early(store, 0.75, seed=5), data=DATA, recipe=RECIPE)
    row = row_of(store, results, trained)
    assert (row.gradient_flow, row.losses) == (0.75, None)
    longer = Retrain(network=trained, data=DATA, recipe=RECIPE)
    assert row_of(store, results, longer).gradient_flow == 0.75


@pytest.mark.parametrize("flow", [0.5, None])
def test_the_gradient_is_not_that_of_the_network_whose_layers_are_copied(
    store: Store, results: Path, flow: float | None
) -> None:
    shuffled = pruned_early(store, flow, seed=6, layers_like=pruned_early(store, 0.75, seed=5))
    assert row_of(store, results, Train(network=shuffled, data=DATA, recipe=RECIPE)).gradient_flow == flow


def test_the_gradient_is_not_that_of_the_teacher(store: Store, results: Path) -> None:
    teacher = Train(network=pruned_early(store, 0.75, seed=5), data=DATA, recipe=RECIPE)
    model = VGG(blocks=((4,),), classes=10)
    student = Distill(student=model, teacher=teacher, method=KD(), data=DATA, recipe=RECIPE)
    assert row_of(store, results, teacher, student).gradient_flow is None


def test_suites_that_share_a_network_have_a_row_each(store: Store, results: Path) -> None:
    for entry in SUITE.entries:
        evaluate(store, entry)
    rows = rows_of(store, results)
    other = Suite(entries=(dataclasses.replace(PRUNED, name="the one", against=(), promised=95.0),), protocol="other")
    assert collect("toy", "other", other, store, results) == 0
    assert rows_of(store, results) == rows
    (row,) = read_rows("toy", "other", {PRUNED.evaluate.key}, results)
    assert (row.suite, row.entry, row.position, row.promised) == ("other", "the one", 0, 95.0)


def test_there_is_no_row_before_all_stages_of_an_entry_are_done(store: Store, results: Path) -> None:
    finish(store, PRUNED.evaluate, **SEEN, seed=0)
    assert collect("toy", "full", SUITE, store, results) == 4
    assert not results.exists()
    assert PRUNED.train is not None
    finish(store, PRUNED.train, **SEEN, seed=0)
    assert PRUNED.inspect is not None
    manifest = store.artefact(PRUNED.inspect) / "manifest.json"
    manifest.rename(manifest.with_name("aside"))
    assert collect("toy", "full", SUITE, store, results) == 4
    manifest.with_name("aside").rename(manifest)
    assert collect("toy", "full", SUITE, store, results) == 3


def test_a_row_stays_when_what_its_network_was_made_from_was_deleted(store: Store, results: Path) -> None:
    for entry in SUITE.entries:
        evaluate(store, entry)
    before = rows_of(store, results)
    dense = PRUNED.evaluate.network.inputs()[0]
    (store.artefact(dense) / "manifest.json").unlink()
    assert collect("toy", "full", SUITE, store, results) == 2, "both entries of that seed rest on it"
    assert read_rows("toy", "full", {row.key for row in before}, results) == before


def test_a_training_that_did_not_count_is_not_called_free(tmp_path: Path, results: Path) -> None:
    store = Store(tmp_path / "old")
    entry = SUITE.entries[0]
    finish(store, DATA)
    finish(store, entry.evaluate.network, losses=[1.0])
    evaluate(store, entry)
    with pytest.raises(UserError, match=r"does not tell its cost, .*: delete it and launch again"):
        collect("toy", "full", SUITE, store, results)


def test_a_row_of_other_images_is_not_replaced(store: Store, results: Path) -> None:
    evaluate(store, SUITE.entries[0])
    collect("toy", "full", SUITE, store, results)
    (path,) = (results / "rows" / "toy" / "full").iterdir()
    path.write_text(path.read_text().replace('"these"', '"others"'))
    with pytest.raises(UserError, match="is a row of other images"):
        collect("toy", "full", SUITE, store, results)
    assert '"others"' in path.read_text()


def test_a_row_of_an_earlier_recipe_stays_out_of_the_table(results: Path) -> None:
    """It is not opened either: rows of older code have other fields."""
    folder = results / "rows" / "toy" / "full"
    folder.mkdir(parents=True)
    now = dataclasses.replace(ROW, key="now")
    for row in (ROW, now):
        (folder / f"{row.key}.json").write_text(to_json(row))
    (folder / "abandoned.json").write_text('{"entry": "of older code"}')
    assert read_rows("toy", "full", {"now", "not launched yet"}, results) == [now]


def test_a_row_survives_json_and_refuses_what_it_should() -> None:
    assert from_json(to_json(ROW)) == ROW
    with pytest.raises(UserError, match="top1 is nan"):
        to_json(dataclasses.replace(ROW, top1=float("nan")))
    for fields in ({"entry": "x"}, {**json.loads(to_json(ROW)), "novelty": 1}):
        with pytest.raises(UserError, match="not a result row"):
            from_json(json.dumps(fields))


def test_a_file_that_is_no_row_is_named_with_what_to_do(store: Store, results: Path) -> None:
    evaluate(store, SUITE.entries[0])
    path = results / "rows" / "toy" / "full" / f"{SUITE.entries[0].evaluate.key}.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"entry": "of older code"}')
    with pytest.raises(UserError, match=rf"{path.name}: not a result row: .*; remove it"):
        collect("toy", "full", SUITE, store, results)
    with pytest.raises(UserError, match=rf"{path.name}: not a result row: .*; remove it"):
        read_rows("toy", "full", {path.stem}, results)
