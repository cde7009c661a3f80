"""Stages that fail or are killed: the cause is told, nothing half-made stays, and the same command goes on."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.data._ffcv import Reader
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.errors import GAVE_UP, TRY_AGAIN, StageError, UserError
from harness.executors import local
from harness.history import read_history
from harness.journal import Event
from harness.loop import Trained
from harness.models.vgg import VGG
from harness.placement import Placement
from harness.plan import make_plan
from harness.recipe import Recipe
from harness.run import main, run_stages
from harness.spec import Stage
from harness.stages import _fit, _publish
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.train import Train
from harness.store import Store
from harness.topology import Topology
from tests.distributed.ranks import ROOT, Rank, run_ranks, start_ranks

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


LONG = replace(TRAIN, recipe=replace(RECIPE, epochs=25))


def await_first_epoch(store: Store, stage: Stage, rank: Rank) -> None:
    journal, end = store.journal_path(stage.key), time.monotonic() + 120
    while not (journal.exists() and '"epoch"' in journal.read_text()):
        assert rank.running() and time.monotonic() < end, rank.output
        time.sleep(0.05)


def told(store: Store, stage: Stage) -> list[Event]:
    return [json.loads(line) for line in store.journal_path(stage.key).read_text().splitlines()]


def await_checkpoint(store: Store, stage: Stage, rank: Rank) -> None:
    end = time.monotonic() + 120
    while not list(store.unfinished(stage).glob("[0-9]*")):
        assert rank.running() and time.monotonic() < end, rank.output
        time.sleep(0.02)


def test_two_commands_at_once_train_once(store: Store) -> None:
    first = start_ranks([DATA, LONG], store, 1)
    await_first_epoch(store, LONG, first[0])
    second = start_ranks([DATA, LONG], store, 2)
    for rank in second:
        code, output = rank.wait(60)
        assert code == 2
        assert f"error: train {LONG.key[:12]} is held by process {first[0].pid} on " in output
        assert "when that has ended, the same command does what is missing" in output
    code, output = first[0].wait()
    assert code == 0, output
    assert artefacts(store) == {DATA.key, LONG.key}
    assert '"failed"' not in store.journal_path(LONG.key).read_text()


def test_told_that_its_time_is_over_it_saves_ends_and_goes_on_when_asked_again(store: Store) -> None:
    (rank,) = start_ranks([DATA, LONG], store, world=1)
    await_first_epoch(store, LONG, rank)
    os.kill(rank.pid, signal.SIGUSR2)  # what Slurm sends ahead of a time limit
    code, output = rank.wait(60)
    assert code == TRY_AGAIN, output
    assert output.splitlines()[-1] == "stopped: the machine is taken away soon"
    assert artefacts(store) == {DATA.key}
    assert list((store.root / "aside").iterdir()) == []
    events = told(store, LONG)
    assert [event["event"] for event in events[-2:]] == ["saved", "stopped"]
    assert read_history(store.journal_path(LONG.key)).ended == "stopped"
    ((code, output),) = run_ranks([DATA, LONG], store, world=1)
    assert code == 0, output
    assert f"goes on after {events[-2]['updates']:,} updates" in output
    assert artefacts(store) == {DATA.key, LONG.key}


def test_all_ranks_end_together_when_one_is_told(store: Store) -> None:
    """Slurm tells all of them, but not at the same instant."""
    endless = replace(TRAIN, recipe=replace(RECIPE, epochs=9999, batch_per_gpu=32))
    ranks = start_ranks([DATA, endless], store, 2)
    await_first_epoch(store, endless, ranks[0])
    os.kill(ranks[0].pid, signal.SIGUSR2)
    for rank in ranks:
        code, output = rank.wait(60)
        assert code == TRY_AGAIN, output
    assert '"failed"' not in store.journal_path(endless.key).read_text()
    assert told(store, endless)[-1]["event"] == "stopped"


def test_killed_in_mid_training_the_same_command_goes_on(store: Store) -> None:
    (rank,) = start_ranks([DATA, LONG], store, 1, "--checkpoint-minutes", "0.0001")
    await_checkpoint(store, LONG, rank)
    os.kill(rank.pid, signal.SIGKILL)
    rank.wait()
    assert artefacts(store) == {DATA.key}
    assert list((store.root / "aside").iterdir()) != [], "nothing was under way when it was killed"
    prepared = (store.artefact(DATA) / "manifest.json").stat().st_mtime_ns
    ((code, output),) = run_ranks([DATA, LONG], store, world=1)
    assert code == 0, output
    assert "goes on after" in output
    assert artefacts(store) == {DATA.key, LONG.key}
    assert (store.artefact(DATA) / "manifest.json").stat().st_mtime_ns == prepared
    assert list((store.root / "aside").iterdir()) == []


def test_a_job_of_a_launch_is_tried_again_until_it_was_tried_often_enough(store: Store) -> None:
    wild = replace(TRAIN, recipe=replace(RECIPE, lr=1e30))
    codes = [run_ranks([DATA, wild], store, 1, "--launch", "0a1b2c3d", "--tries", "2")[0] for _ in range(3)]
    assert [code for code, _ in codes] == [TRY_AGAIN, TRY_AGAIN, GAVE_UP]
    assert re.search(r"stopped: the loss is (nan|inf) at step .*; the job is tried again\n$", codes[1][1])
    assert re.search(rf"given up: train {wild.key[:12]}: the loss is (nan|inf) at step", codes[2][1])
    history = read_history(store.journal_path(wild.key))
    assert (history.attempts, history.ended) == (2, "failed")


def test_a_terminated_job_clears_up_and_a_killed_rank_takes_the_other_along(store: Store) -> None:
    endless = replace(TRAIN, recipe=replace(RECIPE, epochs=9999, batch_per_gpu=32))
    first, second = start_ranks([DATA, endless], store, world=2)
    await_first_epoch(store, endless, first)
    os.kill(second.pid, signal.SIGKILL)
    code, output = first.wait(60)
    second.wait()
    assert code == 1, output
    assert "failed: another rank has died, or kept this one waiting" in output
    assert "another rank has died" in store.journal_path(endless.key).read_text().splitlines()[-1]
    assert list((store.root / "aside").iterdir()) == []
    alone = replace(endless, seed=1)
    (rank,) = start_ranks([DATA, alone], store, world=1)
    await_first_epoch(store, alone, rank)
    os.kill(rank.pid, signal.SIGTERM)
    assert rank.wait(60)[0] == 143
    assert told(store, alone)[-1]["event"] == "stopped"
    assert artefacts(store) == {DATA.key}
    assert list((store.root / "aside").iterdir()) == []


ENGINES: dict[str, dict[str, Any]] = {
    "ddp": {"engine": "ddp"},
    "zero 0": {"engine": "deepspeed", "zero_stage": 0},
    "zero 2": {"engine": "deepspeed", "zero_stage": 2},
}


@pytest.mark.parametrize(("engine", "hung"), [("ddp", 0), ("zero 0", 1), ("zero 2", 0)])
def test_a_rank_that_hangs_ends_the_stage_in_the_stated_time(store: Store, engine: str, hung: int) -> None:
    endless = replace(TRAIN, recipe=replace(RECIPE, epochs=9999, batch_per_gpu=32, **ENGINES[engine]))
    ranks = start_ranks([DATA, endless], store, 2, "--patience", "3")
    await_first_epoch(store, endless, ranks[0])
    os.kill(ranks[hung].pid, signal.SIGSTOP)
    stopped = time.monotonic()
    code, output = ranks[1 - hung].wait(60)
    assert code == 1, output
    assert 2 < time.monotonic() - stopped < 20
    assert "failed: another rank has died, or kept this one waiting" in output
    os.kill(ranks[hung].pid, signal.SIGKILL)
    ranks[hung].wait()


def test_a_loader_that_stalls_ends_the_stage_in_the_stated_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run(store, DATA)
    started, decode = time.monotonic(), Reader.decode

    def stall(reader: Reader, *images: Any) -> None:
        if time.monotonic() - started > 1:
            time.sleep(6)
        decode(reader, *images)

    monkeypatch.setattr(Reader, "decode", stall)
    endless = replace(TRAIN, recipe=replace(RECIPE, epochs=9999))
    with pytest.raises(StageError, match=r"no data for 1\.5 s while reading .*train\.beton: .* raise --patience"):
        run_stages(
            [endless], store, Topology(), data=None, workers=2, patience_s=1.5, listener=lambda stage, event: None
        )
    assert time.monotonic() - started < 10


def test_control_c_ends_the_ranks_and_says_one_thing(store: Store, tmp_path: Path) -> None:
    command = [sys.executable, "launch/digits.py", "--executor", "local", "--gpus", "2", "--store", str(store.root)]
    launch = subprocess.Popen(
        [*command, "--results", str(tmp_path)], cwd=ROOT, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    end = time.monotonic() + 120
    while not list(store.root.glob("aside/train-*")):
        assert launch.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    os.killpg(launch.pid, signal.SIGINT)  # what a terminal does: everything that runs in it is told
    _, errors = launch.communicate(timeout=60)
    assert launch.returncode == 130
    assert errors == "interrupted: the same command goes on from what is finished and the last checkpoint\n"
    assert list((store.root / "aside").iterdir()) == []
    assert artefacts(store) == {DATA.key}


def test_two_local_ranks_share_a_plan(store: Store, tmp_path: Path) -> None:
    both = replace(TRAIN, recipe=replace(RECIPE, batch_per_gpu=32))
    steps = make_plan([("both", Evaluate(network=both, data=DATA, size=32))], store)
    store.write_specs([step.stage for step in steps])
    local.run(steps, Placement(store=store.root, results=tmp_path, gpus=2))
    assert [store.manifest(step.stage)["provenance"]["ranks"] for step in steps] == [1, 2, 2]


def test_weights_that_are_not_finite_are_not_published(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last update may spoil a network whose last loss was fine."""

    def spoil(network: nn.Module, *_: object) -> Trained:
        next(network.parameters()).data[0] = float("nan")
        return Trained([1.0], earlier_device_seconds=0.0, masks=None)

    monkeypatch.setattr(_fit, "train", spoil)
    with pytest.raises(StageError, match=r"features\.0\.weight holds numbers that are not finite"):
        run(store, DATA, TRAIN)
    assert artefacts(store) == {DATA.key}


def test_a_full_disk_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_publish, "write_weights", full)
    with pytest.raises(StageError, match="No space left on device"):
        run(store, DATA, TRAIN)
    assert artefacts(store) == {DATA.key}


def test_a_job_that_needs_a_gpu_does_not_run_without(store: Store) -> None:
    store.write_specs([DATA])
    assert main([DATA.key, "--store", str(store.root), "--need-gpu"]) == (0 if torch.cuda.is_available() else 2)


def test_the_local_executor_passes_on_why_a_stage_failed(store: Store, tmp_path: Path) -> None:
    wild = replace(TRAIN, recipe=replace(RECIPE, lr=1e30))
    steps = make_plan([("a wild one", wild)], store)
    store.write_specs([step.stage for step in steps])
    with pytest.raises(StageError, match=r"train \(a wild one\): the loss is"):
        local.run(steps, Placement(store=store.root, results=tmp_path))
    assert artefacts(store) == {DATA.key}
