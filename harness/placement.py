"""Where a launch runs: everything the command line says that is not science.

Lives here: `Placement`, the GPUs of this machine. Must not: anything that enters a key.
"""

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.profile import Profile

PATIENCE_S = 60.0
"""How long data or another rank may keep a rank waiting, unless the launch says otherwise."""
CHECKPOINT_S, CHECKPOINT_SHARE = 60.0, 0.01
"""Between two checkpoints of a training, and the share of its time that saving may take: whichever is longer."""

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
    checkpoint_s: float | None = None
    """Between two checkpoints, whatever that costs; None: as CHECKPOINT_S and CHECKPOINT_SHARE say."""
    site: Profile = field(default_factory=Profile)
    """The cluster."""
    tries: int = TRIES
    """Attempts in a row that a stage may fail without progress."""

    def __post_init__(self) -> None:
        if self.signal_seconds >= 60 * self.minutes:
            raise UserError(
                f"ranks are to be told {self.signal_seconds} s ahead of the end of a job of {self.minutes} minutes:"
                " that is when it starts; raise --minutes, or lower signal_seconds in the profile"
            )

    @property
    def minutes(self) -> int:
        """Time limit of a job."""
        return self.site.minutes or MINUTES

    @property
    def signal_seconds(self) -> int:
        """How long before a time limit the ranks are told to save."""
        return self.site.signal_seconds or min(SIGNAL_SECONDS, 15 * self.minutes)

    @property
    def world(self) -> int:
        """Ranks in all."""
        return self.nodes * self.gpus

    @property
    def of_a_rank(self) -> list[str]:
        """What every rank is told, as arguments of `python -m harness.run`."""
        words = ["--store", str(self.store.resolve()), "--workers", str(self.workers)]
        words += ["--patience", str(self.patience_s)]
        words += [] if self.checkpoint_s is None else ["--checkpoint-minutes", str(self.checkpoint_s / 60)]
        return words if self.data is None else [*words, "--data", str(self.data.resolve())]


def to_record(placement: Placement) -> dict[str, Any]:
    """Everything of it as JSON can hold it, folders in full: good on other machines of the cluster."""
    form = dataclasses.asdict(placement)
    return {name: str(value.resolve()) if isinstance(value, Path) else value for name, value in form.items()}


def from_record(form: dict[str, Any]) -> Placement:
    """Inverse of `to_record`. Raises UserError on anything else."""
    try:
        site: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in form["site"].items()
        }
        folders = {name: Path(form[name]) for name in ("store", "results", "data") if form[name] is not None}
        return Placement(**{**form, **folders, "site": Profile(**site)})
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"not a record of where a launch runs: {type(error).__name__} {error}") from error


def visible_gpus() -> list[int]:
    """Numbers of this machine's NVIDIA GPUs that a program may use, found without torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return list(range(len(list(Path("/dev").glob("nvidia[0-9]*")))))
    return [int(number) for number in named.split(",") if number.strip().isdigit()]
