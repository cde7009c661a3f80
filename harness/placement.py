"""Where a launch runs: everything the command line says that is not science.

Lives here: `Placement`. Must not: anything that enters a key.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Machines, folders and site facts of one launch."""

    store: Path
    results: Path
    data: Path | None = None
    nodes: int = 1
    gpus: int = 1
    """Ranks on each node, one per GPU where there are any."""
    workers: int = 1
    """Loader threads of each rank."""
    minutes: int = 24 * 60
    """Time limit of a Slurm job."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None

    @property
    def world(self) -> int:
        """Ranks in all."""
        return self.nodes * self.gpus
