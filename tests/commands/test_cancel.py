"""What is taken back from Slurm stays away."""

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import lease
from harness.commands import cancel
from harness.errors import UserError
from harness.history import read_history
from harness.journal import Journal
from harness.launches import Job, Planned, write_launch
from harness.lease import hold
from harness.store import Store
from tests.commands import toy
from tests.commands.conftest import calls, queue
from tests.commands.toy import key


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two looks at the queue, or for a launch."""
    monkeypatch.setattr(cancel, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr("harness.store.LAUNCH_WAIT_S", 0.0)
    monkeypatch.setattr(lease, "BEAT_S", 0.05)


@pytest.fixture(autouse=True)
def own_mask() -> Iterator[None]:
    """What a command lets the group do ends with it."""
    mask = os.umask(0o022)
    yield
    os.umask(mask)


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


def test_what_a_dying_job_has_put_back_goes_too(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    queue(site, ("7", toy.job_name("dense"), "RUNNING", "None"), ("6", toy.job_name("data"), "COMPLETING", "None"))
    again = f"8|{toy.job_name('sparse')}|PENDING|4|Priority|{toy.USER}"
    scancel = (site / "scancel").read_text()
    (site / "scancel").write_text(f"{scancel}[ $1 = 8 ] || echo '{again}' >>{site}/squeue.txt\n")
    assert cancelled(store, capsys, "--all")[-1] == "2 jobs cancelled, with 2 stages"
    assert calls(site, "scancel") == ["7", "8"]
    assert marked(store) == ["dense", "sparse"]


def test_a_queue_that_never_empties_is_said(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    queue(site, ("7", toy.job_name("dense"), "RUNNING", "None"))
    (site / "scancel").write_text("#!/bin/sh\n")
    with pytest.raises(UserError, match="still in the queue after 5 looks, job 7 for one"):
        cancelled(store, capsys, "--all")


def test_nobody_cancels_while_a_launch_submits(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    queue(site, ("7", toy.job_name("dense"), "RUNNING", "None"))
    with hold(store.root / "leases" / "launch", "it"), pytest.raises(UserError, match="the launch of jobs is held by"):
        cancelled(store, capsys, "--all")
    assert calls(site, "scancel") == []


def test_what_cannot_be_marked_is_not_cancelled(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(site, ("7", toy.job_name("dense"), "RUNNING", "None"), ("9", toy.TABLE, "PENDING", "Dependency"))
    toy.tell(store, "dense", toy.start("7"))
    monkeypatch.setattr(Journal, "_append", lambda journal, path: None)  # as where the file is a colleague's
    for words in (["--all"], [key("dense")]):
        with pytest.raises(UserError, match=r"cannot write to .*jsonl, so no job was cancelled: ask its owner"):
            cancelled(store, capsys, *words)
    assert calls(site, "scancel") == []


def test_a_colleague_may_write_where_the_group_does(
    site: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.root.chmod(0o770)
    cancelled(store, capsys, key("dense"))
    assert store.journal_path(key("dense")).stat().st_mode & 0o060 == 0o060


def test_what_is_a_colleagues_is_refused(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = {key("theirs"): Planned(stage="train", label="their own", ranks="all", inputs=())}
    write_launch(replace(toy.launch({**toy.planned(), **theirs}, (), "feedbeef"), user="grace"), store)
    queue(site)
    (site / "squeue.txt").write_text(f"11|{toy.job_name('student')}|PENDING|4|Priority|grace\n")
    with pytest.raises(UserError, match="is in job 11 of grace, who alone can cancel it"):
        cancelled(store, capsys, key("dense"), key("student"))
    with pytest.raises(UserError, match=r"train \(their own\) .* is of a launch of grace, who alone"):
        cancelled(store, capsys, key("theirs"))
    assert marked(store) == [] and calls(site, "scancel") == []
    cancelled(store, capsys, key("dense"))
    history = read_history(store.journal_path(key("dense")))
    assert history.cancelled_in(toy.ID) and not history.cancelled_in("feedbeef")


def test_titles_do_not_steer_the_terminal(site: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    odd = {key("odd"): Planned(stage="train", label="\x1b]0;owned\x07", ranks="all", inputs=())}
    write_launch(toy.launch(odd, (), "feedbeef"), store)
    assert cancelled(store, capsys, key("odd"))[0].startswith("cancelled train (␛]0;owned␇)")


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
