"""Which process this is among how many: read once from the environment, frozen afterwards.

Lives here: rank facts, with one precedence rule: submitit's local variables, else those of a Slurm job of ours, else
torchrun's, else a single process. What we start ourselves comes first, for the others leak in from the shell around it.
Must not: process groups, devices, anything of torch.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import UserError

SLURM_MASTER = "HARNESS_MASTER"
"""Set by our batch files to the name of the job's first node; a shell inside an allocation has none."""

_FIRST_PORT, _PORTS = 20_000, 20_000


@dataclass(frozen=True, kw_only=True)
class Topology:
    """`rank` of `world` processes; `local_rank` among those of one node; where rank 0 listens."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    master_address: str = "127.0.0.1"
    master_port: int = 29_500

    @property
    def leads(self) -> bool:
        """Whether this is rank 0: the one that publishes, logs and draws."""
        return self.rank == 0


def detect(environment: Mapping[str, str] = os.environ) -> Topology:
    """The topology of this process. Raises UserError when the variables contradict each other."""
    if "SUBMITIT_LOCAL_GLOBALID" in environment:
        found = Topology(
            rank=int(environment["SUBMITIT_LOCAL_GLOBALID"]),
            world=int(environment["SUBMITIT_LOCAL_NTASKS"]),
            local_rank=int(environment["SUBMITIT_LOCAL_LOCALID"]),
            master_port=_FIRST_PORT + int(environment["SUBMITIT_LOCAL_JOB_ID"]) % _PORTS,
        )
    elif SLURM_MASTER in environment:
        found = Topology(
            rank=int(environment["SLURM_PROCID"]),
            world=int(environment["SLURM_STEP_NUM_TASKS"]),
            local_rank=int(environment["SLURM_LOCALID"]),
            master_address=environment[SLURM_MASTER],
            master_port=slurm_port(environment),
        )
    elif "RANK" in environment:
        found = Topology(
            rank=int(environment["RANK"]),
            world=int(environment["WORLD_SIZE"]),
            local_rank=int(environment["LOCAL_RANK"]),
            master_address=environment["MASTER_ADDR"],
            master_port=int(environment["MASTER_PORT"]),
        )
    else:
        found = Topology()
    if not 0 <= found.local_rank <= found.rank < found.world:
        raise UserError(f"rank {found.rank} (local {found.local_rank}) of {found.world} processes is not possible")
    return found


def slurm_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """Slurm's id of the job of ours that this process belongs to: `123`, or `123_4` for a task of an array."""
    if SLURM_MASTER not in environment:
        return None
    if "SLURM_ARRAY_JOB_ID" in environment:
        return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment["SLURM_JOB_ID"]


def slurm_restarts(environment: Mapping[str, str] = os.environ) -> int:
    """How often Slurm has put this job back into the queue."""
    return int(environment.get("SLURM_RESTART_COUNT", "0"))


def slurm_port(environment: Mapping[str, str]) -> int:
    """A port all ranks agree on; another one for each job, step and requeue, so that a lingering socket is no clash."""
    numbers = [int(environment.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID")]
    return _FIRST_PORT + (numbers[0] * 101 + numbers[1] * 13 + numbers[2]) % _PORTS
