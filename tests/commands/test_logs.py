"""What a rank printed is found without knowing its job."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands import logs
from harness.commands._text import moment, visible
from harness.errors import UserError
from harness.store import Store
from tests.commands import toy
from tests.commands.toy import failed, key, start


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
    with pytest.raises(UserError, match=r"no log in .*/local is of train \(dense\): it ran outside Slurm on node7"):
        shown(store, capsys)
    started = f"train {key('dense')[:12]}: started on 2 ranks\n"
    (folder / "4711_0_log.out").write_text(started)
    (folder / "4711_1_log.out").write_text("rank 1\n")
    (folder / "4712_0_log.out").write_text(f"train {key('other')[:12]}: started on 1 rank\n")
    os.utime(folder / "4711_0_log.out", (1, 1))
    assert shown(store, capsys) == started
    assert shown(store, capsys, "--rank", "1") == "rank 1\n"


def test_a_log_does_not_steer_the_terminal(store: Store, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.tell(store, "dense", start("7"))
    (folder / "7_0_log.out").write_bytes("50 %\r\x1b]0;owned\x07\x9b2J\n".encode() + b"\xff\n")
    assert shown(store, capsys) == "50 %\r␛]0;owned␇␛[2J\n\ufffd\n"


def test_every_control_character_leaves_a_mark_and_text_passes() -> None:
    controls = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
    assert [c for c in controls if visible(c) == c] == ["\t", "\n", "\r"]
    assert visible("\x00\x7f\x9dé ~") == "␀␡␛]é ~"


def test_a_moment_that_no_clock_has_is_no_trouble() -> None:
    assert moment(1_700_000_000).startswith("2023-11-1")
    assert {moment(odd) for odd in (float("inf"), float("nan"), 1e300)} == {"????-??-?? ??:??"}


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


def test_following_goes_over_to_the_job_that_goes_on(
    store: Store, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.tell(store, "dense", start("7"))
    old, new, journal = folder / "7_0_log.out", folder / "8_0_log.out", store.journal_path(key("dense"))
    old.write_text("one\n")

    def time_out() -> None:
        old.write_text("one\ntwo\n")
        toy.tell(store, "dense", failed("a rank is gone"), start("8"))

    def back() -> None:
        for path in (old, journal):
            path.with_suffix(".away").rename(path)

    def give_up() -> None:
        new.write_text("three\nfour\n")
        toy.tell(store, "dense", failed("no space"), toy.gave_up("no space"))

    steps: list[Callable[[], object]] = [
        lambda: [path.rename(path.with_suffix(".away")) for path in (old, journal)],
        back, time_out, lambda: new.write_text("three\n"), give_up,
    ]  # fmt: skip
    monkeypatch.setattr("harness.commands.logs.time.sleep", lambda seconds: steps.pop(0)())
    assert shown(store, capsys, "--follow") == "one\ntwo\nthree\nfour\n"
    assert steps == []


def test_following_ends_well_on_ctrl_c(
    store: Store, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.tell(store, "dense", start("7"))
    (folder / "7_0_log.out").write_text("one\n")
    monkeypatch.setattr("harness.commands.logs.time.sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
    assert shown(store, capsys, "--follow") == "one\n"
