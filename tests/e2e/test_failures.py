"""Stages that fail or are killed: the cause is told, nothing half-made stays, and the same command goes on."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.errors import StageError, UserError
from harness.executors import local
from harness.models.vgg import VGG
from harness.placement import Placement
from harness.plan import make_plan
from harness.recipe import Recipe
from harness.run import run_stages
from harness.spec import Stage
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.train import Train
from harness.store import Store
from harness.topology import Topology
from tests.distributed.ranks import start_ranks

DATA = Prepare(source=Digits())
RECIPE = Recipe(
    epochs=2, augment=Augment(crop="none", size=32, flip=False), global_batch=64, batch_per_gpu=64, engine="ddp"
)
TRAIN = Train(network=VGG(blocks=((2,),), classes=10), data=DATA, recipe=RECIPE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run(store: Store, *stages: Stage) -> None:
    run_stages(stages, store, Topology(), data=None, workers=1, listener=lambda stage, event: None)


def artefacts(store: Store) -> set[str]:
    return {path.name for path in store.root.glob("[a-z]*/??/*") if len(path.name) == 64}


def test_a_loss_that_is_not_finite_ends_the_stage_at_its_step(store: Store) -> None:
    wild = replace(TRAIN, recipe=replace(RECIPE, lr=1e30))
    with pytest.raises(StageError, match=r"the loss is (nan|inf) at step [1-9]\d* of epoch 0"):
        run(store, DATA, wild, Evaluate(network=wild, data=DATA, size=32))
    assert artefacts(store) == {DATA.key}
    assert list((store.root / "aside").iterdir()) == []
    assert "the loss is" in store.journal_path(wild.key).read_text().splitlines()[-1]


def test_a_damaged_image_file_is_refused_before_training(store: Store) -> None:
    run(store, DATA)
    beton = store.artefact(DATA) / "train.beton"
    content = bytearray(beton.read_bytes())
    content[-1000] ^= 1
    beton.write_bytes(content)
    with pytest.raises(UserError, match=r"train\.beton is damaged or missing"):
        run(store, TRAIN)
    assert artefacts(store) == {DATA.key}


def test_a_network_with_too_few_outputs(store: Store) -> None:
    with pytest.raises(UserError, match="the network has 9 outputs, digits has 10 classes"):
        run(store, DATA, replace(TRAIN, network=VGG(blocks=((2,),), classes=9)))


def test_killed_in_mid_training_the_same_command_goes_on(store: Store) -> None:
    long = replace(TRAIN, recipe=replace(RECIPE, epochs=500))
    (rank,) = start_ranks([DATA, long], store, world=1)
    journal, end = store.journal_path(long.key), time.monotonic() + 120
    while not (journal.exists() and '"epoch"' in journal.read_text()):
        assert rank.poll() is None and time.monotonic() < end, rank.communicate()[0]
        time.sleep(0.1)
    os.kill(rank.pid, signal.SIGKILL)
    rank.communicate()
    assert artefacts(store) == {DATA.key}
    prepared = (store.artefact(DATA) / "manifest.json").stat().st_mtime_ns
    run(store, DATA, TRAIN)
    assert artefacts(store) == {DATA.key, TRAIN.key}
    assert (store.artefact(DATA) / "manifest.json").stat().st_mtime_ns == prepared


def test_the_local_executor_passes_on_why_a_stage_failed(store: Store, tmp_path: Path) -> None:
    wild = replace(TRAIN, recipe=replace(RECIPE, lr=1e30))
    steps = make_plan([("a wild one", wild)], store)
    store.write_specs([step.stage for step in steps])
    with pytest.raises(StageError, match=r"train \(a wild one\): the loss is"):
        local.run(steps, Placement(store=store.root, results=tmp_path))
    assert artefacts(store) == {DATA.key}
