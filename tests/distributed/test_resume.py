"""Killed in mid-training, the same command ends with the weights of a run that nobody disturbed."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from harness.checkpoint import TENSORS
from harness.criteria.prospr import ProsPr
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.models.vgg import VGG
from harness.network import WEIGHTS
from harness.recipe import Recipe
from harness.self_distillation.dlb import DLB
from harness.self_distillation.ps_kd import PSKD
from harness.spec import Stage
from harness.stages.prepare import Prepare
from harness.stages.prune_early import PruneEarly
from harness.stages.self_distill import SelfDistill
from harness.stages.train import Train
from harness.store import Store
from tests.distributed.ranks import Rank, run_ranks, start_ranks

DATA = Prepare(source=Digits())
RECIPE = Recipe(
    epochs=2,
    augment=Augment(crop="pad", size=32, flip=False),
    global_batch=32,
    batch_per_gpu=8,
    lr=0.01,
    schedule="cosine",
    ema_decay=0.9,
)
"""44 steps an epoch; checkpoints in the middle and at the end of each. One, two and four ranks share a global batch."""
ZERO0 = Train(network=VGG(blocks=((4,), (8,)), classes=10), data=DATA, recipe=RECIPE)
ZERO1 = replace(ZERO0, recipe=replace(RECIPE, zero_stage=1))
TINY, PLAIN = VGG(blocks=((4,), (8,)), classes=10), replace(RECIPE, ema_decay=0.0)
BEGUN = PruneEarly(network=TINY, criterion=ProsPr(), sparsity=0.5, method=DLB(), data=DATA, augment=RECIPE.augment)
HISTORY = SelfDistill(network=TINY, method=PSKD(), data=DATA, recipe=PLAIN)
LAST_BATCH = SelfDistill(network=BEGUN, method=DLB(), data=DATA, recipe=PLAIN)
TRAININGS = {"zero 0": ZERO0, "zero 1": ZERO1, "PS-KD": HISTORY, "DLB on a pruned network": LAST_BATCH}
PLAN: list[Stage] = [DATA, BEGUN, *TRAININGS.values()]
OFTEN = ("--checkpoint-minutes", "0.00001")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """PLAN on two ranks undisturbed, and killed in each training, then gone on with on one, two and four ranks."""
    root = tmp_path_factory.mktemp("stores")
    stores = {name: Store(root / name) for name in ("undisturbed", "1", "2", "4")}
    run(stores["undisturbed"], 2)
    for stage in TRAININGS.values():
        kill_in_mid_training(stores["2"], stage)
    for other in ("1", "4"):
        shutil.copytree(stores["2"].root, stores[other].root)
    for world in (1, 2, 4):
        run(stores[str(world)], world)
    return stores


def run(store: Store, world: int) -> None:
    for code, output in run_ranks(PLAN, store, world, *OFTEN):
        assert code == 0, output


def kill_in_mid_training(store: Store, stage: Stage) -> None:
    """At a random step after a random checkpoint."""
    ranks = start_ranks([DATA, BEGUN, stage], store, 2, *OFTEN)
    await_checkpoint(store, stage, ranks[0], updates=random.choice([25, 44]))
    time.sleep(random.uniform(0, 0.05))
    for rank in ranks:
        os.kill(rank.pid, signal.SIGKILL)
    assert {rank.wait()[0] for rank in ranks} == {-signal.SIGKILL}
    assert not store.done(stage)


def await_checkpoint(store: Store, stage: Stage, rank: Rank, updates: int) -> None:
    end = time.monotonic() + 120
    while max(checkpoints(store, stage), default=0) < updates:
        assert rank.running() and time.monotonic() < end, rank.output
        time.sleep(0.002)


def checkpoints(store: Store, stage: Stage) -> Iterator[int]:
    return (int(path.parent.name) for path in store.unfinished(stage).glob(f"[0-9]*/{TENSORS}"))


def weights(store: Store, stage: Stage) -> dict[str, torch.Tensor]:
    return load_file(store.artefact(stage) / WEIGHTS)


def resumed_at(store: Store, stage: Stage) -> list[str]:
    return [line for line in store.journal_path(stage.key).read_text().splitlines() if '"resumed"' in line]


@pytest.mark.parametrize("stage", TRAININGS.values(), ids=TRAININGS)
def test_bit_for_bit_on_as_many_ranks(stores: dict[str, Store], stage: Stage) -> None:
    assert len(resumed_at(stores["2"], stage)) == 1
    assert resumed_at(stores["undisturbed"], stage) == []
    expected, found = weights(stores["undisturbed"], stage), weights(stores["2"], stage)
    assert expected.keys() == found.keys()
    different = [name for name in expected if not torch.equal(expected[name], found[name])]
    assert different == []
    payloads = [stores[name].manifest(stage)["payload"] for name in ("undisturbed", "2")]
    assert payloads[0] == payloads[1]
    made = stores["2"].manifest(stage)["provenance"]
    assert made["device_seconds"] > made["seconds"] * made["ranks"], "the first attempt's training is counted too"


@pytest.mark.parametrize("stage", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize("world", ["1", "4"])
def test_to_rounding_on_half_or_twice_as_many(stores: dict[str, Store], stage: Stage, world: str) -> None:
    """BatchNorm's running statistics too, although ranks then see other micro-batches."""
    assert len(resumed_at(stores[world], stage)) == 1
    expected, found = weights(stores["undisturbed"], stage), weights(stores[world], stage)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)


def test_a_finished_stage_keeps_no_checkpoints(stores: dict[str, Store]) -> None:
    for store in stores.values():
        assert [path for path in store.root.glob("unfinished/**/*") if path.is_file()] == []
