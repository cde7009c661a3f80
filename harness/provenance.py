"""Under which circumstances an artefact was made.

Lives here: code version, package versions, host. Must not: what enters a key; the environment (it holds secrets).
"""

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.spec import Json

EARLIER = "earlier_device_seconds"
"""Under this name a stage may return what earlier attempts spent on what it took up; it goes into the provenance."""
SNAPSHOT = "snapshot.json"
"""The file of a folder of code that says which commit it was copied from, see `harness.snapshot`."""
PACKAGES = ("torch", "torchvision", "deepspeed", "ffcv", "numpy", "torch-pruning", "submitit")


def provenance(device: str) -> dict[str, Json]:
    """Facts that travel with every artefact and row; `device` is the model's name for a GPU."""
    commit, dirty = git_state(Path(__file__).parent.parent)
    return {
        "git_hash": commit,
        "git_dirty": dirty,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "host": platform.node(),
        "machine": platform.machine(),
        "device": device,
    }


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """The commit of the code and whether tracked files differ from it; None where there is no git.

    A snapshot of the code answers for the working tree it was taken from.
    """
    try:
        if (folder / SNAPSHOT).exists():
            facts = json.loads((folder / SNAPSHOT).read_text())
            return facts["git_hash"], facts["git_dirty"]
        commit = _git(folder, "rev-parse", "HEAD")
        return commit.strip(), bool(_git(folder, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
