"""What a rank printed is found without knowing its job."""

import argparse
from pathlib import Path

import pytest

from harness.commands import logs
from harness.errors import UserError
from harness.store import Store
from tests.commands import toy
from tests.commands.toy import key, start


@pytest.fixture
def folder(store: Store) -> Path:
    folder = store.root / "logs" / "slurm"
    folder.mkdir(parents=True)
    return folder


def shown(store: Store, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser()
    logs.add_to(parser.add_subparsers())
    options = parser.parse_args(["logs", key("dense")[:12], "--store", str(store.root), *words])
    options.run(options)
    return capsys.readouterr().out


def test_the_log_is_that_of_the_newest_attempt(store: Store, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.tell(store, "dense", start("7"), start("8_2"))
    (folder / "7_0_log.out").write_text("old\n")
    (folder / "8_2_0_log.out").write_text("rank 0\n")
    (folder / "8_2_3_log.out").write_text("rank 3\n")
    assert shown(store, capsys) == "rank 0\n"
    assert shown(store, capsys, "--rank", "3") == "rank 3\n"
    with pytest.raises(UserError, match=r"no log of rank 4 at .*/logs/slurm/8_2_4_log.out"):
        shown(store, capsys, "--rank", "4")


def test_a_stage_that_never_started_has_none(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"train \(dense\) has not started, so there is no log"):
        shown(store, capsys)


def test_without_slurm_it_is_the_log_of_this_machine(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    toy.tell(store, "dense", start(None))
    folder = store.root / "logs" / "local"
    folder.mkdir(parents=True)
    (folder / "4711_0_log.out").write_text("here\n")
    assert shown(store, capsys) == "here\n"


def test_a_log_does_not_steer_the_terminal(store: Store, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.tell(store, "dense", start("7"))
    (folder / "7_0_log.out").write_bytes("50 %\r\x1b]0;owned\x07\x9b2J\n".encode() + b"\xff\n")
    assert shown(store, capsys) == "50 %\r␛]0;owned\x07␛2J\n\ufffd\n"


def test_following_ends_with_the_stage_and_misses_no_letter(
    store: Store, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.tell(store, "dense", start("7"))
    log = folder / "7_0_log.out"
    log.write_bytes(b"one \xe2\x82")
    waits = iter([b"\xac two\n", b"three\n"])

    def sleep(seconds: float) -> None:
        with open(log, "ab") as file:
            file.write(next(waits))
        if log.read_bytes().endswith(b"three\n"):
            toy.tell(store, "dense", {"event": "done", "stage": "train", "seconds": 1.0})
        else:
            toy.tell(store, "dense", {"event": "stopped", "reason": "preempted"}, start("7"))

    monkeypatch.setattr("harness.commands.logs.time.sleep", sleep)
    assert shown(store, capsys, "--follow") == "one € two\nthree\n"


def test_following_ends_well_on_ctrl_c(
    store: Store, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.tell(store, "dense", start("7"))
    (folder / "7_0_log.out").write_text("one\n")
    monkeypatch.setattr("harness.commands.logs.time.sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
    assert shown(store, capsys, "--follow") == "one\n"
