"""A project of a user's own on the test cluster: launching from it, and what came of that.

Lives here: `Project`, waiting. Must not: faults.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.executors.queue import FIELDS, Queued, jobs_by_key, read_queue
from harness.history import History, read_history
from harness.launches import Planned, read_launches
from harness.spec import Stage
from harness.store import Store
from tests.cluster.slurm import SlurmCluster

ROOT = Path(__file__).parents[2]
ONE_THREAD = "OMP_NUM_THREADS=1"
"""Many ranks share this machine."""
CHANCE = {"device_seconds", "stages", "git_hash", "git_dirty", "versions"}
"""Fields of a row that tell how it was made; all others are science."""


@dataclass
class Project:
    """A copy of the code with one more benchmark, and a store on the file system that all nodes share."""

    cluster: SlurmCluster
    folder: Path
    options: tuple[str, ...] = ()

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def create(self, benchmark: Path, name: str) -> None:
        """Copy what a launch needs, as a user would have cloned it."""
        ignored = shutil.ignore_patterns("__pycache__")
        for folder in ("harness", "benchmarks", "launch"):
            shutil.copytree(ROOT / folder, self.folder / folder, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", self.folder)
        shutil.copy(benchmark, self.folder / "benchmarks" / f"{name}.py")

    def harness(self, *words: str, timeout: float = 120) -> str:
        """What a `harness` command typed in the project's folder prints."""
        around = ["env", "-C", str(self.folder), f"PYTHONPATH={self.folder}", ONE_THREAD]
        command = [*around, sys.executable, "-m", "harness.cli"]
        done = self.cluster.run([*command, *words, "--store", str(self.store.root)], timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def launch(self, benchmark: str, *words: str, timeout: float = 120) -> str:
        """Type the launch."""
        where = ["--results", str(self.folder / "results"), "--executor", "slurm", "--setup", f"export {ONE_THREAD}"]
        return self.harness("launch", benchmark, *where, *self.options, *words, timeout=timeout)

    def queue(self) -> list[Queued]:
        """Our jobs that have not ended."""
        return read_queue(self.cluster.run(["squeue", "-h", "-r", "-o", FIELDS]).stdout)

    def running(self) -> dict[str, str]:
        """The job of each stage of a running job, by key."""
        queue = [job for job in self.queue() if job.state == "RUNNING"]
        return {key: job.job for key, job in jobs_by_key(read_launches(self.store), queue).items()}

    def ends(self) -> dict[str, str]:
        """The state of each job of ours, those that have ended too."""
        listing = ["squeue", "-h", "-r", "--states=all", "-o", FIELDS]
        names = {job.name for launch in read_launches(self.store) for job in launch.jobs}
        return {job.job: job.state for job in read_queue(self.cluster.run(listing).stdout) if job.name in names}

    def planned(self) -> dict[str, Planned]:
        """Every stage of the launches, by key."""
        return {key: stage for launch in read_launches(self.store) for key, stage in launch.stages.items()}

    def title(self, key: str) -> str:
        """What a person calls the stage."""
        return self.planned()[key].title

    def trying(self, key: str) -> bool:
        """Whether an attempt at the stage is under way, as far as its journal tells."""
        history = self.history(key)
        return bool(history.runs) and history.ended is None

    def stages(self, keys: Iterable[str]) -> list[Stage]:
        """The specs behind keys."""
        return [self.store.read_spec(key) for key in keys]

    def history(self, key: str) -> History:
        """What the stage's journal tells."""
        return read_history(self.store.journal_path(key))

    def wait(self, seconds: float) -> None:
        """Until no job of ours is left. Raises TimeoutError with what is left."""
        end = time.monotonic() + seconds
        while left := self.queue():
            if time.monotonic() > end:
                raise TimeoutError(f"after {seconds:.0f} s: {left}\n{self.harness('status', '--all')}")
            time.sleep(1)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The science of every row, by its file's name."""
        found = {path.name: json.loads(path.read_text()) for path in (self.folder / "results" / "rows").rglob("*.json")}
        return {name: {k: v for k, v in row.items() if k not in CHANCE} for name, row in found.items()}

    def artefacts(self) -> dict[str, dict[str, Any]]:
        """The science of every manifest by key: hashes of all files, and the payload."""
        found = [json.loads(path.read_text()) for path in self.store.root.glob("[a-z]*/??/*/manifest.json")]
        for manifest in found:
            made = manifest.pop("provenance")
            manifest["ranks"] = made["ranks"]
        return {manifest["key"]: manifest for manifest in found}

    def events(self, kind: str) -> dict[str, list[dict[str, Any]]]:
        """Events of one kind, by the key of their stage."""
        told = self.journals()
        return {key: [event for event in events if event["event"] == kind] for key, events in told.items()}

    def journals(self) -> dict[str, list[dict[str, Any]]]:
        """Every event, by the key of its stage."""
        return {path.stem: list(_events(path)) for path in (self.store.root / "journal").glob("*.jsonl")}


def _events(journal: Path) -> Iterator[dict[str, Any]]:
    """A kill or a full disk may leave half a line, with the next event right behind it."""
    for line in journal.read_text().splitlines():
        with suppress(ValueError):
            yield json.loads(line[max(0, line.rfind('{"event"')) :])


def until(happens: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for it. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            raise TimeoutError(f"it did not happen within {seconds:.0f} s")
        time.sleep(0.2)
