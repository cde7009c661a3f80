"""Where artefacts live, and how one becomes visible all at once.

Lives here: paths, specs on disk, atomic publishing, look-up, verification. Must not: what a stage does.

    STORE/<stage>/<first two of key>/<key>/     the files of a finished stage and its manifest.json
    STORE/specs/<first two of key>/<key>.json   the spec behind a key, written when it is planned
    STORE/unfinished/<stage>/<two>/<key>/       what an attempt left for the next one, until the stage is finished
    STORE/leases/<key>/                         who runs the stage, see `harness.lease`
    STORE/journal/<key>.jsonl                   what happened while it ran
    STORE/launches/<id>.json                    what was asked for, see `harness.launches`
    STORE/code/<digest>/                        the code that jobs run, see `harness.snapshot`
    STORE/aside/                                work in progress; whatever is left here was never published

An artefact is written aside, every file flushed, the manifest last; then its folder is renamed into place and the
parent folder flushed. So the manifest exists if and only if the stage is done, also after a power cut.
"""

import functools
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StageError, UserError
from harness.lease import Lease, hold
from harness.spec import Json, Stage, from_json, nested_keys, to_json

MANIFEST = "manifest.json"
LAUNCH_WAIT_S = 300.0
"""How long a launch waits for another one into the same store to leave."""
PROBE_BYTES = 64 * 1024
"""More than a full disk takes."""
THREADS = 32
"""A shared file system answers slowly, but many questions at once."""


@dataclass(frozen=True)
class Store:
    """A folder of artefacts, possibly shared by many machines."""

    root: Path

    def require_writable(self) -> None:
        """Create the store if needed, and share what is written. Raises UserError if nothing can be written there."""
        self._share()
        probe = self.root / "aside" / f".probe-{secrets.token_hex(8)}"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(bytes(PROBE_BYTES))
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot write to the store {self.root}: {error.strerror}; choose one with --store DIR"
            ) from error

    def require_here(self, keys: Iterable[str]) -> None:
        """Raises UserError unless the store is where it was when these stages were planned, and can be written."""
        for path in [self.root / "specs", *(self._spec_path(key) for key in keys)]:
            if not path.exists():
                raise UserError(f"{path} is not there: is the store mounted?")
        self.require_writable()

    def _share(self) -> None:
        """Let the group write what this process writes, if it may write the store."""
        try:
            shared = self.root.stat().st_mode & stat.S_IWGRP
        except OSError:
            return
        if shared:
            os.umask(os.umask(0) & ~stat.S_IRWXG)

    def artefact(self, stage: Stage) -> Path:
        """The folder of a finished stage, whether or not it is there yet."""
        return self.root.joinpath(stage.name, stage.key[:2], stage.key)

    def unfinished(self, stage: Stage) -> Path:
        """Where attempts at a stage leave what the next one can take up; it need not be there."""
        return self.root / "unfinished" / stage.name / stage.key[:2] / stage.key

    def done(self, stage: Stage) -> bool:
        """Whether the stage is finished: its manifest can be opened."""
        return self.has(stage.name, stage.key)

    def has(self, name: str, key: str) -> bool:
        """Whether the stage of this name and key is finished. Raises UserError if nobody can tell."""
        path = self.root.joinpath(name, key[:2], key, MANIFEST)
        try:
            with open(path, "rb"):
                return True
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise UserError(f"cannot look at {path}: {error.strerror}") from error

    def done_of(self, stages: Sequence[Stage]) -> set[str]:
        """Keys of those that are finished; asked side by side, for each answer may take a millisecond."""
        with ThreadPoolExecutor(THREADS) as pool:
            found = pool.map(lambda first: [s.key for s in stages[first::THREADS] if self.done(s)], range(THREADS))
            return {key for keys in found for key in keys}

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
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._write_spec, stages))

    def read_spec(self, key: str) -> Stage:
        """The stage with this key, nested stages included. Raises UserError if the store does not know it."""
        known: dict[str, Stage] = {}
        texts: dict[str, str] = {}
        pending = [key]
        while pending:  # what is nested first, without recursion: a chain of stages may be thousands deep
            current = pending[-1]
            if current not in texts:
                texts[current] = self._spec_text(current)
                pending += nested_keys(texts[current])
            else:
                pending.pop()
                known[current] = self._stage(current, texts[current], known)
        return known[key]

    def journal_path(self, key: str) -> Path:
        """Where the events of a stage are appended."""
        return self.root / "journal" / f"{key}.jsonl"

    def lease_path(self, what: str) -> Path:
        """Where it is written who has a stage, by its key, or `launch`."""
        return self.root / "leases" / what

    def launch_lock(self) -> AbstractContextManager[Lease]:
        """Let one process at a time look at the queue and change it. Raises UserError if another stays too long."""
        return hold(self.lease_path("launch"), "the launch of jobs", wait_s=LAUNCH_WAIT_S)

    def lock(self, stage: Stage) -> AbstractContextManager[Lease]:
        """Keep other processes from running the stage, see `harness.lease`. Raises UserError while another one does."""
        return hold(self.lease_path(stage.key), f"{stage.name} {stage.key[:12]}")

    @contextmanager
    def aside(self, stage: Stage) -> Iterator[Path]:
        """A fresh folder to build an artefact in; removed on the way out unless it was published.

        The stage's lease must be held: what earlier attempts left is removed first.
        """
        for left in (self.root / "aside").glob(f"{stage.name}-{stage.key[:12]}-*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = self.root / "aside" / f"{stage.name}-{stage.key[:12]}-{secrets.token_hex(4)}"
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

    def _write_spec(self, stage: Stage) -> None:
        path = self._spec_path(stage.key)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, to_json(stage))

    def _spec_path(self, key: str) -> Path:
        return self.root / "specs" / key[:2] / f"{key}.json"

    def _spec_text(self, key: str) -> str:
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            raise UserError(f"{key!r} is not a key: 64 hexadecimal digits are expected")
        try:
            return self._spec_path(key).read_text()
        except OSError as error:
            raise UserError(f"the store {self.root} knows no stage {key[:12]}: launch its benchmark first") from error

    def _stage(self, key: str, text: str, known: Mapping[str, Stage]) -> Stage:
        stage = known.get(key) or from_json(text, known.__getitem__)
        if stage.key != key:
            raise UserError(f"the spec stored for {key[:12]} has another key now: launch its benchmark again")
        return stage


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
