"""Checkpoints on disk: the last two are kept, a damaged one is passed over, a failure to write is told."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from harness import checkpoint
from harness.checkpoint import FACTS, TENSORS, Checkpoints, Verdict, write_tensors
from harness.context import Context
from harness.errors import Stopped, UserError
from harness.journal import Event as Told
from harness.journal import Journal
from harness.lease import Lease, Owner
from harness.state import restore_weights
from harness.store import sha256


@pytest.fixture
def told() -> list[Told]:
    return []


@pytest.fixture
def context(context: Context, told: list[Told]) -> Context:
    """Always due, and telling."""
    return replace(context, journal=Journal(None, told.append), checkpoint_s=1e-6)


def tensors(value: float) -> dict[str, torch.Tensor]:
    """A layout that is not row-major, and a number without dimensions, as networks have them."""
    image = torch.full((2, 3, 4, 5), value).to(memory_format=torch.channels_last)
    image[1, 2, 3, 4] = -value
    return {"image": image, "count": torch.tensor(7, dtype=torch.int64)}


def save(checkpoints: Checkpoints, updates: int) -> None:
    checkpoints.save(updates, {"epochs": [0.5], "steps": [float(updates)]}, tensors(updates))
    checkpoints.finish()


def test_nothing_saved_is_an_empty_checkpoint(context: Context) -> None:
    saved = Checkpoints(context).newest()
    assert (saved.facts, saved.tensors) == ({}, {})


def test_the_newest_comes_back_and_the_last_two_are_kept(context: Context) -> None:
    checkpoints = Checkpoints(context)
    for updates in (9, 10, 100):
        save(checkpoints, updates)
    assert sorted(path.name for path in context.unfinished.iterdir()) == ["10", "100"]
    saved = Checkpoints(context).newest()
    assert saved.facts == {"epochs": [0.5], "steps": [100.0]}
    assert saved.tensors.keys() == tensors(100).keys()
    assert all(torch.equal(saved.tensors[name], tensor) for name, tensor in tensors(100).items())


def test_what_is_saved_is_the_state_at_the_call(context: Context) -> None:
    checkpoints, weights = Checkpoints(context), torch.ones(1_000_000)
    checkpoints.save(1, {}, {"weights": weights})
    weights.zero_()
    checkpoints.finish()
    assert torch.equal(Checkpoints(context).newest().tensors["weights"], torch.ones(1_000_000))


@pytest.mark.parametrize("spoil", ["a bit", "the tail", "the tensors", "the facts", "an empty file"])
def test_a_damaged_checkpoint_is_passed_over_and_told(context: Context, told: list[Told], spoil: str) -> None:
    checkpoints = Checkpoints(context)
    save(checkpoints, 1)
    save(checkpoints, 2)
    file = context.unfinished / "2" / TENSORS
    content = bytearray(file.read_bytes())
    if spoil == "a bit":
        content[-3] ^= 4
        file.write_bytes(content)
    elif spoil == "the tail":
        file.write_bytes(content[:-8])
    elif spoil == "the tensors":
        file.unlink()
    else:
        file.with_name(FACTS).write_text("{" if spoil == "the facts" else "")
    saved = Checkpoints(context).newest()
    assert torch.equal(saved.tensors["image"], tensors(1)["image"])
    assert [(event["event"], Path(event.get("checkpoint", "")).name) for event in told] == [
        ("saved", ""),
        ("saved", ""),
        ("damaged", "2"),
        ("resumed", ""),
    ]


def test_what_a_killed_writer_left_is_not_taken_and_goes_away(context: Context) -> None:
    save(Checkpoints(context), 1)
    (context.unfinished / "1").rename(context.unfinished / ".2-123")
    assert Checkpoints(context).newest().tensors == {}
    save(Checkpoints(context), 1)
    assert Checkpoints(context).newest().tensors != {}
    assert [path.name for path in context.unfinished.iterdir()] == ["1"]


def test_a_damaged_checkpoint_does_not_crowd_out_a_good_one(context: Context) -> None:
    for updates in (1, 9):
        save(Checkpoints(context), updates)
    (context.unfinished / "9" / FACTS).write_text("")
    again = Checkpoints(context)
    assert again.newest().facts["steps"] == [1.0]
    for updates in (2, 3):
        save(again, updates)
    assert sorted(path.name for path in context.unfinished.iterdir()) == ["2", "3"]


def test_a_full_disk_is_told_and_training_goes_on(
    context: Context, told: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    checkpoints = Checkpoints(context)
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "write_tensors", full)
        save(checkpoints, 1)
    assert [event["event"] for event in told] == ["unsaved"]
    assert "unfinished: OSError [Errno 28] No space left on device" in told[0]["reason"]
    save(checkpoints, 2)
    assert Checkpoints(context).newest().facts["steps"] == [2.0]


def test_time_to_save_comes_after_the_stated_time(context: Context) -> None:
    assert Checkpoints(context).verdict() == Verdict.SAVE
    assert Checkpoints(replace(context, checkpoint_s=1000.0)).verdict() == Verdict.GO_ON


def test_it_comes_later_if_saving_holds_training_up(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a hundred times as long as it did, so that a hundredth of the time is lost."""
    now = [1000.0]
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: now[0]))
    checkpoints, stage = Checkpoints(replace(context, checkpoint_s=None)), Checkpoints._stage

    def slow(self: Checkpoints, tensors: Mapping[str, torch.Tensor]) -> None:
        now[0] += 3.0
        stage(self, tensors)

    monkeypatch.setattr(Checkpoints, "_stage", slow)
    now[0] += 61.0
    assert checkpoints.verdict() == Verdict.SAVE
    save(checkpoints, 1)
    now[0] += 290.0
    assert checkpoints.verdict() == Verdict.GO_ON
    now[0] += 10.0
    assert checkpoints.verdict() == Verdict.SAVE


def test_a_stated_time_is_kept_whatever_saving_costs(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: now[0]))
    checkpoints = Checkpoints(replace(context, checkpoint_s=10.0))
    checkpoints._held_up = 3.0
    now[0] += 9.0
    assert checkpoints.verdict() == Verdict.GO_ON
    now[0] += 1.0
    assert checkpoints.verdict() == Verdict.SAVE


def test_what_is_still_being_written_after_all_patience_does_not_get_the_next_weights(
    context: Context, told: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that stalls may go on later, under the old name."""
    go_on, written = Event(), {}

    def stalled(folder: Path, updates: int, facts: object, tensors: Mapping[str, torch.Tensor]) -> None:
        assert updates > 1 or go_on.wait(60)
        written[updates] = float(tensors["image"].max())

    monkeypatch.setattr(checkpoint, "write_checkpoint", stalled)
    checkpoints = Checkpoints(replace(context, patience_s=0.2))
    checkpoints.save(1, {}, tensors(1))
    first = checkpoints._writing
    assert first is not None
    save(checkpoints, 2)
    go_on.set()
    first.result(60)
    assert written == {1: 1.0, 2: 2.0}
    assert [event["event"] for event in told] == ["unsaved", "saved", "saved"]


def test_when_the_machine_is_to_go_it_is_time_to_save_and_stop(context: Context) -> None:
    patient = Checkpoints(replace(context, checkpoint_s=1000.0))
    with context.ending.deferred():
        context.ending.ask("the time is over")
    assert patient.verdict() == Verdict.SAVE_AND_STOP
    save(patient, 1)
    with pytest.raises(Stopped, match="the time is over"):
        patient.stop()
    assert Checkpoints(context).newest().facts["steps"] == [1.0]


def test_the_end_waits_for_what_is_being_written(
    context: Context, told: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.write_checkpoint

    def slow(*facts: Any) -> None:
        time.sleep(0.3)
        write(*facts)

    monkeypatch.setattr(checkpoint, "write_checkpoint", slow)
    context.ending.reason = "the time is over"
    checkpoints = Checkpoints(context)
    checkpoints.save(1, {}, tensors(1))
    assert told == []
    with pytest.raises(Stopped):
        checkpoints.stop()
    assert [event["event"] for event in told] == ["saved"]


def test_when_another_attempt_has_taken_over_nothing_is_saved(context: Context, tmp_path: Path) -> None:
    lease = Lease(tmp_path / "lock", "train 0123", Owner.this_process())
    checkpoints = Checkpoints(replace(context, lease=lease))
    context.ending.reason = "the time is over"
    lease.lost.set()
    assert checkpoints.verdict() == Verdict.STOP
    context.ending.reason = None
    with pytest.raises(Stopped, match="another attempt has taken the stage over"):
        checkpoints.stop()


def test_what_is_saved_is_told_with_its_price(context: Context, told: list[Told]) -> None:
    save(Checkpoints(context), 7)
    (event,) = told
    assert (event["event"], event["updates"]) == ("saved", 7)
    assert 0 <= event["seconds"] < 10


def test_it_is_not_time_while_one_is_being_written(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = Event()
    monkeypatch.setattr(checkpoint, "write_checkpoint", lambda *_: go_on.wait(60))
    checkpoints = Checkpoints(replace(context, checkpoint_s=0.0))
    checkpoints.save(1, {}, tensors(1))
    checkpoints._held_up = 0.0
    assert checkpoints.verdict() == Verdict.GO_ON
    go_on.set()
    checkpoints.finish()
    assert checkpoints.verdict() == Verdict.SAVE


def test_a_checkpoint_of_another_network_is_refused(context: Context) -> None:
    network = nn.Linear(2, 3)
    restore_weights(network, {})
    for wrong in (
        {"weights.weight": torch.ones(3, 2)},
        {"weights.weight": torch.ones(2, 2), "weights.bias": torch.ones(3)},
    ):
        with pytest.raises(UserError, match="the checkpoint is of another network"):
            restore_weights(network, wrong)


def test_the_file_is_plain_safetensors_and_its_hash_is_that_of_the_file(tmp_path: Path) -> None:
    values = {name: tensor.contiguous() for name, tensor in tensors(3).items()}
    digest = write_tensors(tmp_path / "x", values)
    assert digest == sha256(tmp_path / "x")
    assert all(torch.equal(load_file(tmp_path / "x")[name], tensor) for name, tensor in values.items())
    length = int.from_bytes((tmp_path / "x").read_bytes()[:8], "little")
    assert json.loads((tmp_path / "x").read_bytes()[8 : 8 + length])["image"]["shape"] == [2, 3, 4, 5]
    assert (8 + length) % 8 == 0
