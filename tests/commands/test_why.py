"""Everything that is known of one stage, the reason why it does not run first."""

import argparse
import os
import time
from pathlib import Path

import pytest

from harness.commands import why
from harness.launches import Planned
from harness.lease import hold
from harness.store import Store
from tests.commands import toy
from tests.commands.conftest import queue
from tests.commands.toy import epoch, failed, key, start


def report(store: Store, capsys: pytest.CaptureFixture[str], name: str) -> list[str]:
    parser = argparse.ArgumentParser()
    why.add_to(parser.add_subparsers())
    options = parser.parse_args(["why", key(name)[:6], "--store", str(store.root)])
    options.run(options)
    return capsys.readouterr().out.splitlines()


def short(name: str, state: str) -> str:
    stage, label, *_ = toy.PLAN[name]
    return f"  {stage} ({label}) {key(name)[:12]}  {state}"


def test_a_blocked_stage_names_the_culprit_first(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    toy.finish(store, "data")
    toy.tell(store, "dense", start("7"), failed("the loss is nan"))
    lines = report(store, capsys, "student")
    assert lines[0] == (
        f"distill (student of a sparse teacher) {key('student')[:12]} is blocked:"
        f" train (dense) {key('dense')[:12]} failed: the loss is nan"
    )
    needs = lines.index("needs:")
    assert lines[needs + 1 : needs + 4] == [
        short("data", "done"), short("dense", "failed"), short("sparse", "blocked"),
    ]  # fmt: skip
    assert "never started" in lines


def test_a_stage_tells_its_attempts_who_waits_and_its_spec(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.finish(store, "data")
    spec = store.root / "specs" / key("dense")[:2] / f"{key('dense')}.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{\n "spec": "stages.train"\n}\n')
    toy.tell(store, "dense", start("7"), epoch(1, 500), {"event": "stopped", "reason": "time limit"})
    toy.tell(store, "dense", start("7"), {"event": "resumed", "updates": 400})
    queue(site, ("7", toy.job_name("dense"), "RUNNING", "None"))
    lines = report(store, capsys, "dense")
    assert lines[:2] == [f"train (dense) {key('dense')[:12]} is running (job 7)", f"key: {key('dense')}"]
    direct = lines.index("is needed by:")
    assert lines[direct + 1 : direct + 6] == [
        short("sparse", "missing"), short("dense_top1", "missing"),
        "and through these by:", short("student", "missing"), short("student_top1", "missing"),
    ]  # fmt: skip
    attempts = [line.partition("job ")[2] for line in lines[lines.index("attempts:") + 1 :][:2]]
    assert attempts == [
        "7 on node7, 32 ranks, updates 0 to 500: stopped: time limit",
        "7 on node7, 32 ranks, updates 400 to 400: has no end in the journal",
    ]
    assert f"logs: {store.root}/logs/slurm/7_*_log.out" in lines
    assert lines[-3:] == ["spec: {", ' "spec": "stages.train"', "}"]


def test_who_holds_a_stage_outside_slurm_is_named(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    toy.tell(store, "data", start(None, ranks=1))
    with hold(store.root / "leases" / key("data"), "it"):
        lines = report(store, capsys, "data")
    assert lines[0].endswith(" is running")
    assert lines[2].startswith(f"held by process {os.getpid()} on ")
    assert not any(line.startswith("held by") for line in report(store, capsys, "data"))


def test_who_needs_a_stage_is_found_quickly_among_many() -> None:
    stages = toy.planned() | {
        key(str(n)): Planned(stage="train", label=str(n), ranks="all", inputs=(key("data"),)) for n in range(20_000)
    }
    began = time.process_time()
    direct, later = why.users(key("data"), stages)
    assert time.process_time() - began < 0.5
    assert (len(direct), later) == (20_005, [])
    assert why.users(key("sparse"), stages) == ([key("student")], [key("student_top1")])
