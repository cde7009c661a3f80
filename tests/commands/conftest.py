"""What tests of the following commands share: Slurm's commands as stand-ins, and a store with a launch."""

import os
import stat
from pathlib import Path

import pytest

from harness.store import Store
from tests.commands import toy

SQUEUE = """#!/bin/sh
echo "$@" >>{folder}/squeue.calls; cat {folder}/squeue.txt 2>/dev/null || true
"""
SCANCEL = """#!/bin/sh
echo "$@" >>{folder}/scancel.calls
touch {folder}/squeue.txt; echo "$@" | tr ' ' '\\n' >{folder}/gone
awk -F'|' 'NR == FNR {{ gone[$1]; next }} !($1 in gone)' {folder}/gone {folder}/squeue.txt >{folder}/left
mv {folder}/left {folder}/squeue.txt
"""
RECORDER = """#!/bin/sh
echo "$@" >>{folder}/{name}.calls
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose squeue repeats a file, from which scancel takes lines, and which writes down every call."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name, text in {"squeue": SQUEUE, "scancel": SCANCEL, "sacct": RECORDER}.items():
        (folder / name).write_text(text.format(folder=folder, name=name))
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr("getpass.getuser", lambda: toy.USER)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store into which the toy plan was launched."""
    store = Store(tmp_path / "store")
    toy.launched(store)
    return store


def calls(site: Path, program: str) -> list[str]:
    """The arguments of every call of a program so far."""
    path = site / f"{program}.calls"
    return path.read_text().splitlines() if path.exists() else []


def queue(site: Path, *jobs: tuple[str, str, str, str]) -> None:
    """What squeue says from now on: (id, name, state, reason), on four nodes each."""
    lines = [f"{job}|{name}|{state}|4|{reason}|{toy.USER}" for job, name, state, reason in jobs]
    (site / "squeue.txt").write_text("".join(f"{line}\n" for line in lines))
