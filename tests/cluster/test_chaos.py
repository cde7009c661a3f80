"""Chaos in short: a few faults on a launch, whose table must be what it is without. `make chaos` is the long form."""

from tests.cluster.chaos import KINDS, run_seed, schedule, without_faults
from tests.cluster.slurm import SlurmCluster

FAULTS = 5


def test_a_schedule_is_its_seed() -> None:
    assert schedule(7, 20) == schedule(7, 20) != schedule(8, 20)
    drawn = {fault.kind for seed in range(10) for fault in schedule(seed, 20)}
    assert drawn == set(KINDS), "ten schedules hold every kind"


def test_chaos_leaves_the_table_as_it_is(slurm: SlurmCluster) -> None:
    undisturbed = without_faults(slurm, slurm.shared / "undisturbed")
    assert run_seed(slurm, slurm.shared / "chaos", 8, FAULTS, undisturbed) == []
