"""Who am I among how many: submitit's local ranks first, then a job of ours, then torchrun, then alone."""

import pytest

from harness.errors import UserError
from harness.topology import Topology, detect

SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "HARNESS_MASTER": "n03",
    "SLURM_JOB_ID": "4711",
}
TORCHRUN = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "MASTER_ADDR": "here", "MASTER_PORT": "1234"}
LOCAL = {
    "SUBMITIT_LOCAL_GLOBALID": "1",
    "SUBMITIT_LOCAL_NTASKS": "2",
    "SUBMITIT_LOCAL_LOCALID": "1",
    "SUBMITIT_LOCAL_JOB_ID": "99",
}


def test_alone() -> None:
    shell = {name: value for name, value in SLURM.items() if name != "HARNESS_MASTER"}
    assert detect(shell) == Topology(), "a shell inside an allocation is no job of ours"


def test_a_slurm_step() -> None:
    found = detect(SLURM)
    assert (found.rank, found.world, found.local_rank, found.master_address) == (5, 8, 1, "n03")
    assert not found.leads


def test_what_was_started_last_counts_whatever_leaks_in_from_around_it() -> None:
    local = Topology(rank=1, world=2, local_rank=1, master_port=detect(LOCAL).master_port)
    assert detect(LOCAL) == detect(LOCAL | SLURM | TORCHRUN) == local
    assert detect(SLURM | TORCHRUN).world == 8
    assert detect(TORCHRUN) == Topology(rank=2, world=4, master_address="here", master_port=1234)


def test_a_requeued_job_listens_elsewhere() -> None:
    assert detect(SLURM).master_port != detect(SLURM | {"SLURM_RESTART_COUNT": "1"}).master_port


def test_an_impossible_rank_is_refused() -> None:
    with pytest.raises(UserError, match=r"rank 4 .* of 4"):
        detect(TORCHRUN | {"RANK": "4"})
