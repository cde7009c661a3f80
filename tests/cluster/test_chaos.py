"""Chaos in short: a few faults on a launch, whose table must be what it is without. `make chaos` is the long form."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.cluster.chaos import run_seed, without_faults
from tests.cluster.chaos_outcome import Hit, Outcome, Science, recovery, together, verdict
from tests.cluster.chaos_schedule import KINDS, schedule
from tests.cluster.project import Project
from tests.cluster.slurm import SlurmCluster

FAULTS = 5


def test_a_schedule_is_its_seed() -> None:
    assert schedule(7, 20) == schedule(7, 20) != schedule(8, 20)
    drawn = {fault.kind for seed in range(10) for fault in schedule(seed, 20)}
    assert drawn == set(KINDS), "ten schedules hold every kind"


def test_a_recovery_lasts_until_the_first_step_of_the_next_attempt() -> None:
    told = [("start", 90.0), ("steps", 95.0), ("steps", 101.0), ("start", 110.0), ("resumed", 112.0), ("steps", 115.0)]
    events = [{"event": kind, "time": time} for kind, time in told]
    assert recovery(Hit("killed", "key", 100.0, told=2), events) == 15.0
    assert recovery(Hit("killed", "key", 120.0, told=6), events) is None, "no attempt followed"
    assert recovery(Hit("killed", "key", 100.0 + 3600, told=2), events) is None, "a clock is an hour behind"


def test_seeds_add_up() -> None:
    one = Outcome(kinds=Counter(killed=2), attempts=3, requeues=1, useful=90, made=100, recoveries=[10.0])
    other = Outcome(
        kinds=Counter(killed=1, hung=1), attempts=5, requeues=2, useful=90, made=100, recoveries=[20.0, 12.0]
    )
    assert str(together([one, other])) == (
        "4 faults, 8 attempts, 3 requeues, 12 s from a fault to the next attempt's first step (median),"
        " goodput as told 90.0% of 200 updates"
    )


def test_chaos_leaves_the_table_as_it_is(slurm: SlurmCluster) -> None:
    undisturbed = without_faults(slurm, slurm.shared / "undisturbed")
    assert len(undisturbed.rows) == 6
    outcome = run_seed(slurm, slurm.shared / "chaos", 8, FAULTS, undisturbed)
    assert outcome.complaints == []
    assert outcome.kinds.total() == FAULTS
    assert 0 < outcome.useful <= outcome.made
    lost = Science({}, {**undisturbed.artefacts, "0" * 64: {}})
    complaints = verdict(Project(slurm, slurm.shared / "chaos"), lost)
    assert complaints == ["the rows differ in their science, or some are missing", "no artefact 000000000000"]


def test_a_seed_that_breaks_is_told_and_kept(slurm: SlurmCluster, capsys: pytest.CaptureFixture[str]) -> None:
    taken = slurm.shared / "taken"
    (taken / "harness").mkdir(parents=True)
    (complaint,) = run_seed(slurm, taken, 3, 1, Science({}, {})).complaints
    assert complaint.startswith("FileExistsError: ")
    kept = Path(capsys.readouterr().out.partition("kept in ")[2].partition(":\n")[0])
    assert (kept / "project" / "harness").is_dir()
    assert (kept / "ctl.log").is_file()
    shutil.rmtree(kept)
