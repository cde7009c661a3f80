"""The code a job runs is fixed when the job is submitted: a copy of it in the store, named after its content.

Lives here: what belongs to a snapshot, taking one. Must not: starting anything in it (`harness.executors.slurm`).

    STORE/code/<16 hex digits>/                 harness/, benchmarks/, launch/, pyproject.toml, snapshot.json

The digits are of the SHA-256 over names and contents, so a snapshot never changes and the same code is kept once. A
process that runs `python -m harness.run` with the snapshot as its working directory imports from there: that folder
comes before every installed package. A snapshot of a snapshot is the same folder.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import UserError
from harness.provenance import SNAPSHOT, git_state
from harness.store import Store, flush

FOLDERS = ("harness", "benchmarks", "launch")
FILES = ("pyproject.toml", SNAPSHOT)


def take_snapshot(root: Path, store: Store) -> Path:
    """Copy the code of the project in `root`, committed or not, unless the store has it; return the copy's full path.

    Raises UserError if a file cannot be read or written, or if the copy in the store is not what it was.
    """
    files = _read_code(root)
    files.pop(SNAPSHOT, None)  # of the snapshot that `root` may be itself
    commit, dirty = git_state(root)
    facts = {"git_hash": commit, "git_dirty": dirty, "files": len(files)}
    files[SNAPSHOT] = (json.dumps(facts) + "\n").encode()
    target = store.root.resolve() / "code" / _digest(files)
    if not target.exists():
        _publish(files, target, store.root.resolve() / "aside" / f"code-{target.name}-{secrets.token_hex(4)}")
    if _read_code(target) != files:
        raise UserError(f"{target} is damaged: delete that folder and run the same command again")
    return target


def _read_code(root: Path) -> dict[str, bytes]:
    """The contents of all files that a job needs, by their path below `root`."""
    try:
        paths = [path for name in (*FOLDERS, *FILES) for path in _sources(root / name)]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    except OSError as error:
        raise UserError(f"cannot read the code in {error.filename}: {error.strerror}") from error


def _sources(path: Path) -> Iterator[Path]:
    """The files of code at a path or below it; what is hidden belongs to an editor or a notebook."""
    if path.name.startswith("."):
        return
    is_code = path.suffix == ".py" or path.name in FILES
    if path.is_symlink() and (is_code or path.is_dir()):
        raise UserError(f"{path} is a symbolic link, which no snapshot can fix: put what it points to in its place")
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            yield from _sources(inner)
    elif is_code and path.exists():
        yield path


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(os.fsencode(name) + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()[:16]


def _publish(files: Mapping[str, bytes], target: Path, aside: Path) -> None:
    """Write everything aside, flush it, rename. If another process was faster, its copy stays."""
    try:
        for name, content in files.items():
            path = aside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(path.stat().st_mode & 0o444)  # for those who may read it by the umask; folders can be removed
        for path in (*aside.rglob("*"), aside):
            flush(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(aside, target)
        flush(target.parent)
    except OSError as error:
        if not target.exists():
            raise UserError(f"cannot keep the code in {target}: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
