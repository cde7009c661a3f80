"""Who am I among how many: torchrun first, then Slurm, then submitit's local ranks, then alone."""

import pytest

from harness.errors import UserError
from harness.topology import Topology, detect, first_host

SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "n[03-04,7],m1",
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
    assert detect({"SLURM_PROCID": "0"}) == Topology(), "a shell inside an allocation is no step of it"


def test_a_slurm_step() -> None:
    found = detect(SLURM)
    assert (found.rank, found.world, found.local_rank, found.master_address) == (5, 8, 1, "n03")
    assert not found.leads


def test_torchrun_comes_before_slurm_and_slurm_before_local() -> None:
    assert detect(SLURM | TORCHRUN | LOCAL).world == 4
    assert detect(SLURM | LOCAL).world == 8
    assert detect(LOCAL) == Topology(rank=1, world=2, local_rank=1, master_port=detect(LOCAL).master_port)


def test_a_requeued_job_listens_elsewhere() -> None:
    assert detect(SLURM).master_port != detect(SLURM | {"SLURM_RESTART_COUNT": "1"}).master_port


def test_an_impossible_rank_is_refused() -> None:
    with pytest.raises(UserError, match=r"rank 4 .* of 4"):
        detect(TORCHRUN | {"RANK": "4"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n[1-4]", "n1"), ("gpu-a[003,7]", "gpu-a003"), ("x,y", "x"), ("a1-b[2-3]", "a1-b2")],
)
def test_the_first_host_of_a_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first
