"""Where artefacts live, and how one becomes visible all at once.

Lives here: paths, specs on disk, atomic publishing, look-up, verification. Must not: what a stage does.

    STORE/<stage>/<first two of key>/<key>/     the files of a finished stage and its manifest.json
    STORE/specs/<first two of key>/<key>.json   the spec behind a key, written when it is planned
    STORE/unfinished/<stage>/<two>/<key>/       what an attempt left for the next one, until the stage is finished
    STORE/locks/<key>                           held while a stage runs
    STORE/journal/<key>.jsonl                   what happened while it ran
    STORE/aside/                                work in progress; whatever is left here was never published

An artefact is written aside, every file flushed, the manifest last; then its folder is renamed into place and the
parent folder flushed. So the manifest exists if and only if the stage is done, also after a power cut.
"""

import fcntl
import functools
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.errors import StageError, UserError
from harness.spec import Json, Stage, from_json, to_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Store:
    """A folder of artefacts, possibly shared by many machines."""

    root: Path

    def require_writable(self) -> None:
        """Create the store if needed. Raises UserError if nothing can be written there."""
        probe = self.root / "aside" / f".probe-{secrets.token_hex(8)}"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to the store {self.root}: {error.strerror}; choose one with --store DIR"
            ) from error

    def artefact(self, stage: Stage) -> Path:
        """The folder of a finished stage, whether or not it is there yet."""
        return self.root / stage.name / stage.key[:2] / stage.key

    def unfinished(self, stage: Stage) -> Path:
        """Where attempts at a stage leave what the next one can take up; it need not be there."""
        return self.root / "unfinished" / stage.name / stage.key[:2] / stage.key

    def done(self, stage: Stage) -> bool:
        """Whether the stage is finished: its manifest can be opened."""
        try:
            with open(self.artefact(stage) / MANIFEST, "rb"):
                return True
        except OSError:
            return False

    def manifest(self, stage: Stage) -> dict[str, Json]:
        """The manifest of a finished stage: `files`, `payload`, `provenance`."""
        path = self.artefact(stage) / MANIFEST
        try:
            manifest: dict[str, Json] = json.loads(path.read_text())
        except OSError as error:
            raise UserError(
                f"{stage.name} {stage.key[:12]} is not in the store {self.root}: launch it first"
            ) from error
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}): delete its folder and run again") from error
        return manifest

    def verify(self, stage: Stage) -> Path:
        """The artefact's folder, all files compared with the manifest. Raises UserError if one differs."""
        folder = self.artefact(stage)
        for name, expected in self.manifest(stage)["files"].items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != expected["bytes"] or _known(path) != expected["sha256"]:
                raise UserError(f"{path} is damaged or missing: delete its folder and run the same command again")
        return folder

    def write_specs(self, stages: list[Stage]) -> None:
        """Keep the spec behind every key, so that a job needs only the key."""
        for stage in stages:
            path = self._spec_path(stage.key)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, to_json(stage))

    def read_spec(self, key: str) -> Stage:
        """The stage with this key, nested stages included. Raises UserError if the store does not know it."""
        return self._read_spec(key, {})

    def journal_path(self, key: str) -> Path:
        """Where the events of a stage are appended."""
        return self.root / "journal" / f"{key}.jsonl"

    @contextmanager
    def lock(self, stage: Stage) -> Iterator[None]:
        """Keep other processes from running the stage, see `lock_file`. Raises UserError while another one does."""
        path = self.root / "locks" / stage.key
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a") as file:
            lock_file(
                file,
                f"{stage.name} {stage.key[:12]} is being run by another process: when that has ended, the same"
                " command does what is missing",
            )
            yield

    @contextmanager
    def aside(self, stage: Stage) -> Iterator[Path]:
        """A fresh folder to build an artefact in; removed on the way out unless it was published.

        What a killed process of this machine left of the same stage is removed first.
        """
        mine = f"{stage.name}-{stage.key[:12]}-{os.uname().nodename}-"
        for left in (self.root / "aside").glob(f"{mine}*"):
            if not Path("/proc", left.name.removeprefix(mine).partition("-")[0]).exists():
                shutil.rmtree(left, ignore_errors=True)
        folder = self.root / "aside" / f"{mine}{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, stage: Stage, folder: Path, payload: Mapping[str, Json], provenance: Mapping[str, Json]) -> None:
        """Make `folder` the artefact of `stage`, in one step. A second publisher of the same key changes nothing."""
        files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in sorted(folder.iterdir())}
        manifest = {
            "stage": stage.name,
            "key": stage.key,
            "files": files,
            "payload": dict(payload),
            "provenance": dict(provenance),
        }
        for name in files:
            flush(folder / name)
        replace_file(folder / MANIFEST, json.dumps(manifest, sort_keys=True, indent=1, allow_nan=False) + "\n")
        target = self.artefact(stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(folder, target)
        except OSError as error:
            if not self.done(stage):
                raise StageError(f"cannot publish {target}: {error.strerror}") from error
        flush(target.parent)
        shutil.rmtree(self.unfinished(stage), ignore_errors=True)

    def _spec_path(self, key: str) -> Path:
        return self.root / "specs" / key[:2] / f"{key}.json"

    def _read_spec(self, key: str, known: dict[str, Stage]) -> Stage:
        if key in known:
            return known[key]
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            raise UserError(f"{key!r} is not a key: 64 hexadecimal digits are expected")
        try:
            text = self._spec_path(key).read_text()
        except OSError as error:
            raise UserError(f"the store {self.root} knows no stage {key[:12]}: launch its benchmark first") from error
        stage = from_json(text, lambda nested: self._read_spec(nested, known))
        if stage.key != key:
            raise UserError(f"the spec stored for {key[:12]} has another key now: launch its benchmark again")
        known[key] = stage
        return stage


def lock_file(file: IO[Any], refusal: str) -> None:
    """Keep others out until the file is closed, be it by a kill. Raises UserError(refusal) while another has it.

    On a file system without locks nobody is kept out.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(refusal) from error
    except OSError:
        pass


def replace_file(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old or the new text, never a part."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        temporary.write_text(text)
        flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush(path.parent)


def flush(path: Path) -> None:
    """Ask the operating system to put a file or folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _known(path: Path) -> str:
    """The SHA-256 of a file, which a process reads once while the file is unchanged: image files are large."""
    state = path.stat()
    return _remembered(path, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.cache
def _remembered(path: Path, *_state: int) -> str:
    return sha256(path)


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
