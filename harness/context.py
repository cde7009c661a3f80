"""What a running stage is given besides its spec and inputs: nothing here may change a result.

Lives here: `Context`. Must not: anything of the spec.
"""

from dataclasses import dataclass, field
from pathlib import Path

from harness.ending import Ending
from harness.journal import Journal
from harness.lease import Lease
from harness.placement import PATIENCE_S
from harness.topology import Topology


@dataclass(frozen=True, kw_only=True)
class Context:
    """Placement: which process this is, on what device, and where it may write."""

    topology: Topology
    device: str
    """`cpu` or `cuda:<local rank>`."""
    folder: Path
    """Where the stage leaves the files of its artefact; the same folder for all ranks, written by rank 0."""
    journal: Journal
    unfinished: Path
    """What an attempt leaves for the next one; it may not be there. Removed when the stage is published."""
    data: Path | None = None
    """The folder of raw images, for the one stage that reads them."""
    workers: int = 1
    """Loader threads of this process."""
    patience_s: float = PATIENCE_S
    checkpoint_s: float | None = None
    """As in `harness.placement.Placement`."""
    ending: Ending = field(default_factory=Ending)
    lease: Lease | None = None
    """What keeps others from the stage; rank 0 has it."""
