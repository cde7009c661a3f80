"""What is taken back from Slurm stays away."""

import argparse
from pathlib import Path

import pytest

from harness.commands import cancel
from harness.errors import UserError
from harness.history import read_history
from harness.launches import Job, write_launch
from harness.store import Store
from tests.commands import toy
from tests.commands.conftest import calls, queue
from tests.commands.toy import key


def cancelled(store: Store, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    parser = argparse.ArgumentParser()
    cancel.add_to(parser.add_subparsers())
    options = parser.parse_args(["cancel", *words, "--store", str(store.root)])
    options.run(options)
    return capsys.readouterr().out.splitlines()


def marked(store: Store) -> list[str]:
    """The plan's stages that no follow-up of the launch will start."""
    return [n for n in toy.PLAN if read_history(store.journal_path(key(n))).cancelled_in(toy.ID)]


def test_one_stage_goes_and_takes_along_what_needs_it(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.finish(store, "data", "dense")
    queue(site, ("8", toy.job_name("sparse"), "RUNNING", "None"), ("9", toy.job_name("student"), "PENDING", "x"))
    assert cancelled(store, capsys, key("sparse")[:8], key("dense")[:8]) == [
        f"train (dense) {key('dense')[:12]} is done: nothing to cancel",
        f"cancelled prune (sparse teacher) {key('sparse')[:12]}: job 8",
        "will not run without these stages: 2",
        f"  distill (student of a sparse teacher) {key('student')[:12]}",
        f"  evaluate (student of a sparse teacher) {key('student_top1')[:12]}",
    ]
    assert calls(site, "scancel") == ["8"]
    assert marked(store) == ["sparse"]
    assert read_history(store.journal_path(key("sparse"))).cancelled_by == toy.USER


def test_a_stage_that_shares_its_job_is_named(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(name="harness-both", tasks=((key("dense_top1"), key("student_top1")),), array=False)
    write_launch(toy.launch(jobs=(job,), id_="feedbeef"), store)
    queue(site, ("8", "harness-both", "RUNNING", "None"))
    lines = cancelled(store, capsys, key("dense_top1"))
    assert lines[1:] == [
        "ended with these jobs, and may be started again: 1",
        f"  evaluate (student of a sparse teacher) {key('student_top1')[:12]}",
    ]
    assert read_history(store.journal_path(key("dense_top1"))).cancelled_in("feedbeef")
    assert marked(store) == ["dense_top1"], "under both launches"


def test_all_goes_and_first_what_would_start_it_again(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    queue(
        site,
        ("7", toy.job_name("dense"), "RUNNING", "None"),
        ("8", toy.job_name("sparse"), "PENDING", "Dependency"),
        ("9", toy.TABLE, "PENDING", "Dependency"),
        ("10", "harness-train-another1.0", "RUNNING", "None"),
    )
    with open(site / "squeue.txt", "a") as file:
        file.write(f"11|{toy.job_name('student')}|PENDING|4|Priority|grace\n")
    lines = cancelled(store, capsys, "--all")
    assert calls(site, "scancel") == ["9", "7 8"]
    assert lines == [
        f"cancelled job 9: {toy.TABLE}",
        f"cancelled job 7: {toy.job_name('dense')}",
        f"cancelled job 8: {toy.job_name('sparse')}",
        "3 jobs cancelled, with 2 stages",
    ]
    assert marked(store) == ["dense", "sparse"]


def test_many_jobs_are_named_in_few_calls(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    array = Job(name="harness-many", tasks=tuple((key(str(n)),) for n in range(1_100)), array=True)
    write_launch(toy.launch(jobs=(array,), id_="feedbeef"), store)
    queue(site, *((f"5_{n}", "harness-many", "PENDING", "Priority") for n in range(1_100)))
    lines = cancelled(store, capsys, "--all")
    assert [len(call.split()) for call in calls(site, "scancel")] == [500, 500, 100]
    assert len(lines) == 22
    assert lines[-2:] == ["  ... and 1,080 more", "1,100 jobs cancelled, with 1,100 stages"]


def test_nothing_is_cancelled_by_mistake(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--all", key("dense")]):
        with pytest.raises(UserError, match="which stages"):
            cancelled(store, capsys, *words)
    assert cancelled(store, capsys, "--all") == [
        f"{toy.USER} has no job of the launches into {store.root} in the queue"
    ]
    assert calls(site, "scancel") == []


def test_a_stage_without_a_job_is_not_started_later(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"cancelled train (dense) {key('dense')[:12]}: it had no job" in cancelled(store, capsys, key("dense"))
    assert marked(store) == ["dense"]
    assert calls(site, "scancel") == []


def test_a_refusal_is_passed_on(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    queue(site, ("8", toy.job_name("sparse"), "RUNNING", "None"))
    (site / "scancel").write_text("#!/bin/sh\necho 'scancel: error: Access denied' >&2; exit 1\n")
    with pytest.raises(UserError, match="scancel failed: scancel: error: Access denied"):
        cancelled(store, capsys, key("sparse"))
