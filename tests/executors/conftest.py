"""What tests of launching share: a machine with stand-ins for Slurm's commands."""

import os
from pathlib import Path

import pytest

from tests.executors.stand_in import StandIn


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Slurm's commands on the PATH; whoever launches is called ana."""
    site = StandIn(tmp_path / "site")
    site.install()
    monkeypatch.setenv("PATH", f"{site.folder}:{os.environ['PATH']}")
    monkeypatch.setattr("getpass.getuser", lambda: site.user)
    return site
