"""Where a launch runs: everything the command line says that is not science.

Lives here: `Placement`, the GPUs of this machine. Must not: anything that enters a key.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from harness.profile import Profile

PATIENCE_S = 60.0
"""How long data or another rank may keep a rank waiting, unless the launch says otherwise."""
CHECKPOINT_S = 60.0
"""Time between two checkpoints of a training, unless the launch says otherwise, or saving takes too large a share."""

MINUTES = 24 * 60
SIGNAL_SECONDS = 120
TRIES = 3


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
    patience_s: float = PATIENCE_S
    checkpoint_s: float = CHECKPOINT_S
    site: Profile = field(default_factory=Profile)
    """The cluster."""
    tries: int = TRIES
    """Attempts in a row that a stage may fail without progress."""

    @property
    def minutes(self) -> int:
        """Time limit of a job."""
        return self.site.minutes or MINUTES

    @property
    def signal_seconds(self) -> int:
        """How long before a time limit the ranks are told to save."""
        return self.site.signal_seconds or SIGNAL_SECONDS

    @property
    def world(self) -> int:
        """Ranks in all."""
        return self.nodes * self.gpus

    @property
    def of_a_rank(self) -> list[str]:
        """What every rank is told, as arguments of `python -m harness.run`."""
        words = ["--store", str(self.store.resolve()), "--workers", str(self.workers)]
        words += ["--patience", str(self.patience_s), "--checkpoint-minutes", str(self.checkpoint_s / 60)]
        return words if self.data is None else [*words, "--data", str(self.data.resolve())]


def visible_gpus() -> list[int]:
    """Numbers of this machine's NVIDIA GPUs that a program may use, found without torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return list(range(len(list(Path("/dev").glob("nvidia[0-9]*")))))
    return [int(number) for number in named.split(",") if number.strip().isdigit()]
