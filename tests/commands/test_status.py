"""One screen tells how a launch is doing."""

import argparse
import builtins
import hashlib
import io
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.commands import status
from harness.errors import UserError, exit_code
from harness.launches import Job, Planned, write_launch
from harness.lease import hold
from harness.store import Store
from tests.commands import toy
from tests.commands.conftest import calls, queue
from tests.commands.toy import epoch, failed, key, start


def options(store: Store, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    status.add_to(parser.add_subparsers())
    return parser.parse_args(["status", "--store", str(store.root), *words])


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 120 columns."""
    monkeypatch.setenv("COLUMNS", "120")


def screen(store: Store, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    chosen = options(store, *words)
    assert exit_code(lambda: chosen.run(chosen)) == 0
    return capsys.readouterr().out.splitlines()


def test_a_screen_tells_what_runs_and_what_waits(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    toy.finish(store, "data")
    saved = {"event": "saved", "updates": 80, "seconds": 0.1}
    toy.tell(store, "dense", start("7"), epoch(1, 100), saved, start("7"), {"event": "resumed", "updates": 80})
    toy.tell(store, "dense", epoch(2, 180))
    queue(site, ("7", toy.job_name("dense"), "RUNNING", "None"), ("8", toy.job_name("sparse"), "PENDING", "Dependency"))
    lines = screen(store, capsys)
    assert lines[0] == "6 stages: 1 done, 1 running, 1 waiting, 3 missing"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(1_700_000_000))
    assert lines[1] == f"1 launch since {since}, 32 ranks at work, goodput of the unfinished 90.0 %"
    assert lines[2] == "running:"
    name, _, rest = lines[3].partition("  job ")
    assert name == f"  train (dense) {key('dense')[:12]}"
    assert rest == "7 on 4 nodes, epoch 2/90, 12,346 images/s, 1:02:05 left, requeued 1 x"
    assert "  prune                1 queued (1 Dependency)" in lines
    assert "  evaluate             2 missing" in lines


def test_a_failure_is_told_with_all_it_holds_up(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    toy.finish(store, "data", "dense")
    toy.tell(store, "sparse", start("8"), failed("odd \x1b[31m words"))
    lines = screen(store, capsys)
    assert lines[0] == "6 stages: 2 done, 0 running, 0 waiting, 1 failed, 2 blocked, 1 missing"
    name = f"prune (sparse teacher) {key('sparse')[:12]}"
    assert f"  {name}  odd ␛[31m words" in lines
    assert f"  2 by {name}, failed" in lines


def test_a_silent_queue_is_said_and_the_store_still_speaks(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.tell(store, "data", start("7"), failed("no space"), start("7"))
    (site / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2; exit 1\n")
    lines = screen(store, capsys)
    assert lines[0] == ("squeue failed: slurm_load_jobs error: Unable to contact; this is what the store alone tells")
    assert lines[1].endswith("0 running, 0 waiting, 6 unknown")
    assert lines[3:5] == [
        "may be in the queue again:",
        f"  prepare (dense) {key('data')[:12]}  died without a word in job 7 on node7",
    ]
    monkeypatch.setenv("PATH", str(site / "empty"))
    assert screen(store, capsys)[0].startswith("squeue does not answer: ")


def test_where_nothing_went_to_slurm_nobody_asks_it(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "here")
    write_launch(replace(toy.launch(jobs=()), executor="local"), store)
    toy.tell(store, "data", start(None, ranks=1))
    toy.tell(store, "data", {**epoch(1, 1), "event": "images", "split": "train", "epoch": None})
    with hold(store.root / "leases" / key("data"), "it"):
        lines = screen(store, capsys)
    progress = "outside the queue, train, 12,346 images/s, 1:02:05 left"
    assert ", 1 rank at work" in lines[1]
    assert lines[2:4] == ["running:", f"  prepare (dense) {key('data')[:12]}  {progress}"]
    assert calls(site, "squeue") == []


def test_a_journal_that_stands_still_is_told(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    toy.tell(
        store, "data", start("7", ranks=1), {**epoch(1, 1), "event": "images", "images_per_s": None, "epoch": None}
    )
    queue(site, ("7", toy.job_name("data"), "RUNNING", "None"))
    running = f"  prepare (dense) {key('data')[:12]}  job 7 on 4 nodes, 1:02:05 left"
    assert running in screen(store, capsys)
    moved = time.time() - 720
    os.utime(store.journal_path(key("data")), (moved, moved))
    assert f"{running}, silent for 12:00" in screen(store, capsys)


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf"), "many", [1], {}])
def test_odd_numbers_in_a_journal_are_passed_over(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str], odd: object
) -> None:
    numbers = dict.fromkeys(("epoch", "epochs", "images_per_s", "seconds_left"), odd)
    toy.tell(store, "dense", {**start("7"), "ranks": odd}, {**epoch(1, 100), **numbers})
    queue(site, ("7", toy.job_name("dense"), "RUNNING", "None"))
    lines = screen(store, capsys)
    assert ", 0 ranks at work" in lines[1]
    assert f"  train (dense) {key('dense')[:12]}  job 7 on 4 nodes" in lines


def test_launches_that_are_over_are_left_out_unless_all_are_wanted(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    forgotten = Planned(stage="train", label="forgotten", ranks="all", inputs=())
    write_launch(replace(toy.launch({key("f"): forgotten}, (), "feedbeef"), time=1_600_000_000.0), store)
    queue(site, ("7", toy.job_name("data"), "PENDING", "Priority"))
    lines = screen(store, capsys)
    assert lines[0].startswith("6 stages") and lines[1].startswith("1 launch since 2023")
    assert lines[-1] == "left out, without a job in the queue: 1 launch (see --all)"
    lines = screen(store, capsys, "--all")
    assert lines[0].startswith("7 stages") and lines[1].startswith("2 launches since 2020")
    assert "left out" not in lines[-1]


def test_a_store_without_launches_is_said(site: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no launch into .*empty is known: name another --store"):
        status.run(options(Store(tmp_path / "empty")))


def test_a_watch_is_polite_to_slurm_and_ends_well_on_ctrl_c(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    ticks = iter([0.0, 1.0, 100.0, 110.0])
    clock = SimpleNamespace(monotonic=lambda: next(ticks), sleep=sleep, time=time.time)
    monkeypatch.setattr(status, "time", clock)
    assert "6 stages" in screen(store, capsys, "--watch")[0]
    assert pauses == [30.0, 50.0]
    assert len(calls(site, "squeue")) == 2


def many(store: Store, done: int, waiting: int, failing: int) -> None:
    """A launch of a great many trainings, in one array for those that wait."""
    keys = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(done + waiting + failing)]
    stages = {
        key: Planned(stage=f"train_{'abcdefghijklmnopq'[n % 17]}", label=f"entry {n}", ranks="all", inputs=())
        for n, key in enumerate(keys)
    }
    left = keys[done:]
    array = Job(name="harness-train-many", tasks=tuple((key,) for key in left), array=True)
    write_launch(toy.launch(stages, (array,), "feedbeef"), store)
    for key_ in keys[:done]:
        folder = store.root / stages[key_].stage / key_[:2] / key_
        folder.mkdir(parents=True)
        (folder / "manifest.json").touch()
    for key_ in left[waiting:]:
        toy.append(store, key_, [start("3"), failed("no space")])


def test_a_screen_is_a_screen_however_much_goes_wrong(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    many(store, 0, 40, 40)
    jobs = [(f"9_{n}", "harness-train-many", "RUNNING", "None") for n in range(40)]
    for n in range(40):
        toy.append(store, hashlib.sha256(str(n).encode()).hexdigest(), [start(f"9_{n}")])
    queue(site, *jobs)
    lines = screen(store, capsys)
    assert len(lines) <= 40 and max(map(len, lines)) <= 120
    assert "  ... and 30 more" in lines, "of 40 that run"
    assert len(screen(store, capsys, "--all")) > 80


def test_ten_thousand_stages_on_a_slow_store(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "large")
    many(store, 9_000, 1_000, 0)
    queue(site, *((f"5_{n}", "harness-train-many", "PENDING", "Priority") for n in range(1_000)))
    seen = slow_down(monkeypatch)
    began = time.monotonic()
    lines = screen(store, capsys)
    took = time.monotonic() - began
    monkeypatch.undo()
    assert lines[0] == "10,000 stages: 9,000 done, 0 running, 1,000 waiting"
    assert took < 6.0, "3 s, and room for a busy machine"
    assert seen.total() < 12_000, "one look at each stage, and one at the journals of what is not done"
    assert (len(calls(site, "squeue")), calls(site, "sacct")) == (1, [])


def slow_down(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Make every call that asks a file system take a millisecond; how many there were."""
    seen: Counter[str] = Counter()

    def slow(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            seen[name] += 1
            time.sleep(0.001)
            return real(*args, **named)

        return call

    asked = {os: ("open", "stat", "listdir", "scandir"), builtins: ("open",), io: ("open",)}
    for module, names in asked.items():
        for name in names:
            monkeypatch.setattr(module, name, slow(name, getattr(module, name)))
    return seen
