"""A job runs the code of its submission, whatever happens to the working tree afterwards."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import snapshot
from harness.errors import UserError
from harness.provenance import git_state
from harness.snapshot import take_snapshot
from harness.store import Store

ROOT = Path(__file__).parents[1]
RUN = "from harness.criteria import answer\nprint(answer.TEXT)\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A toy project under git whose job prints an answer."""
    root = tmp_path / "project"
    for name, text in {
        "harness/run.py": RUN,
        "harness/criteria/answer.py": "TEXT = 'old'\n",
        "benchmarks/toy.py": "",
        "launch/toy.py": "",
        "tests/test_toy.py": "",
        "pyproject.toml": "",
        "results/rows/toy.json": "{}",
    }.items():
        write(root / name, text)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "first")
    return root


@pytest.fixture
def store(project: Path) -> Store:
    """Inside the project, as it is when nobody says another place: git would find the project's commit from there."""
    return Store(project / "store")


def test_a_job_runs_the_code_of_its_submission(project: Path, store: Store) -> None:
    taken = take_snapshot(project, store)
    write(project / "harness/criteria/answer.py", "TEXT = 'new'\n")
    assert job(project) == "new\n"
    assert job(taken) == "old\n", "neither the edited tree nor the installed harness"
    later = take_snapshot(project, store)
    assert (job(later), job(taken)) == ("new\n", "old\n")
    assert take_snapshot(project, store) == later, "what Python keeps beside the files it has run is no damage"


def test_it_holds_what_jobs_need_and_nothing_else(project: Path, store: Store) -> None:
    write(project / "harness/criteria/mine.py", "# written a minute ago, not committed")
    write(project / "harness/.ipynb_checkpoints/answer.py", "half")
    write(project / "harness/__pycache__/run.cpython-311.pyc", "")
    (project / "harness/.#run.py").symlink_to("me@host.1234")  # what Emacs leaves beside a file that is being edited
    taken = take_snapshot(project, store)
    assert taken.parent == store.root / "code" and len(taken.name) == 16
    assert files(taken) == {
        "harness/run.py",
        "harness/criteria/answer.py",
        "harness/criteria/mine.py",
        "benchmarks/toy.py",
        "launch/toy.py",
        "pyproject.toml",
        "snapshot.json",
    }


def test_rows_made_in_it_carry_the_commit_it_was_taken_from(project: Path, store: Store) -> None:
    write(project / "harness/run.py", RUN + "# tried\n")
    commit = git(project, "rev-parse", "HEAD").strip()
    taken = take_snapshot(project, store)
    git(project, "commit", "--quiet", "--all", "--message", "second")
    assert git_state(taken) == (commit, True)
    assert json.loads((taken / "snapshot.json").read_text()) == {"git_hash": commit, "git_dirty": True, "files": 5}
    committed = take_snapshot(project, store)
    assert git_state(committed) == git_state(project) != git_state(taken)


def test_code_without_git_can_be_taken_too(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".git")
    taken = take_snapshot(project, Store(tmp_path / "elsewhere"))
    assert git_state(taken) == (None, None)
    assert job(taken) == "old\n"


def test_the_same_code_is_copied_once(project: Path, store: Store) -> None:
    first = take_snapshot(project, store)
    before = first.stat().st_ino
    write(project / "tests/test_new.py", "")
    assert take_snapshot(project, store) == first
    assert take_snapshot(first, store) == first, "a launch that follows another one by itself runs in a snapshot"
    assert first.stat().st_ino == before
    assert os.listdir(store.root / "code") == [first.name]
    assert os.listdir(store.root / "aside") == []


def test_a_file_that_moves_is_other_code(project: Path, store: Store) -> None:
    write(project / "pyproject.toml", "# tried")  # so that the tree differs from its commit both times
    first = take_snapshot(project, store)
    (project / "benchmarks/toy.py").rename(project / "benchmarks/other.py")
    assert take_snapshot(project, store) != first


def test_two_at_once_do_no_harm(project: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is faster by a hair: its copy appears between our look and our rename."""
    rename, others = os.rename, []

    def overtaken(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        others.append(take_snapshot(project, store))
        rename(source, target)

    monkeypatch.setattr(os, "rename", overtaken)
    assert [take_snapshot(project, store)] == others
    assert job(others[0]) == "old\n"
    assert os.listdir(store.root / "aside") == []


def test_it_appears_whole_and_flushed_or_not_at_all(
    project: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    rename = os.rename

    def observed(source: Path, target: Path) -> None:
        assert {source, *source.rglob("*")} == set(flushed), "after a power cut a name would stand for no bytes"
        rename(source, target)

    monkeypatch.setattr(snapshot, "flush", flushed.append)
    monkeypatch.setattr(os, "rename", observed)
    taken = take_snapshot(project, store)
    assert flushed[-1] == taken.parent


def test_a_full_disk_leaves_nothing_behind(project: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(snapshot, "flush", full)
    with pytest.raises(UserError, match=r"^cannot keep the code in .*: No space left on device$"):
        take_snapshot(project, store)
    assert files(store.root) == set()


@pytest.mark.parametrize("damage", ["changed", "removed", "added", "its record removed"])
def test_a_damaged_one_is_refused(project: Path, store: Store, damage: str) -> None:
    taken = take_snapshot(project, store)
    path = taken / "harness/run.py"
    if damage == "removed":
        path.unlink()
    elif damage == "added":
        write(taken / "harness/extra.py", "")
    elif damage == "its record removed":
        (taken / "snapshot.json").unlink()
    else:
        path.chmod(0o644)
        path.write_text(RUN.replace("TEXT", "TEXU"))
    with pytest.raises(UserError, match=f"^{taken} is damaged: delete that folder and run the same command again$"):
        take_snapshot(project, store)
    shutil.rmtree(taken)
    assert job(take_snapshot(project, store)) == "old\n", "as the line says"


@pytest.mark.parametrize("linked", ["benchmarks/toy.py", "harness/criteria", "launch", "pyproject.toml"])
def test_code_behind_a_link_would_not_be_fixed(project: Path, store: Store, linked: str) -> None:
    (project / linked).rename(project / "moved")
    (project / linked).symlink_to(project / "moved")
    with pytest.raises(UserError, match=f"^{project / linked} is a symbolic link, which no snapshot can fix"):
        take_snapshot(project, store)


@pytest.mark.parametrize(("locked", "call"), [("harness/run.py", "read_bytes"), ("harness/criteria", "iterdir")])
def test_code_that_cannot_be_read_is_named(
    project: Path, store: Store, monkeypatch: pytest.MonkeyPatch, locked: str, call: str
) -> None:
    """As for somebody who may not; whoever runs the tests may read everything."""
    original = getattr(Path, call)

    def denied(path: Path) -> bytes | Iterator[Path]:
        if path == project / locked:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, call, denied)
    with pytest.raises(UserError, match=f"^cannot read the code in {project / locked}: Permission denied$"):
        take_snapshot(project, store)


@pytest.mark.parametrize(("umask", "folders", "texts"), [(0o002, 0o775, 0o444), (0o077, 0o700, 0o400)])
def test_nobody_edits_it_and_whoever_may_clean_the_store_removes_it(
    project: Path, store: Store, umask: int, folders: int, texts: int
) -> None:
    before = os.umask(umask)
    try:
        taken = take_snapshot(project, store)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (taken.parent, taken, *taken.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {folders}
    assert {mode for path, mode in modes.items() if path.is_file()} == {texts}


def test_this_project_plans_a_launch_from_its_snapshot(tmp_path: Path) -> None:
    taken = take_snapshot(ROOT, Store(tmp_path / "store"))
    alone = [sys.executable, "-E", "-S", "-m"]  # nothing that is installed, the harness least of all
    command = [*alone, "harness.cli", "launch", "digits", "--dry-run", "--store", str(tmp_path / "store")]
    assert "evaluate" in subprocess.run(command, cwd=taken, capture_output=True, text=True, check=True).stdout


def job(folder: Path) -> str:
    """What a job says that runs in this folder."""
    command = [sys.executable, "-m", "harness.run"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=test", "-c", "user.email=test", *arguments]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # set inside of hooks
    ours["GIT_CONFIG_GLOBAL"] = os.devnull
    return subprocess.run(command, capture_output=True, text=True, check=True, env=ours).stdout


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
