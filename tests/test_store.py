"""The store: an artefact is there whole or not at all, and what it holds is what was published."""

import builtins
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.benchmark import find_suite
from harness.errors import UserError
from harness.spec import Stage
from harness.store import MANIFEST, Store

ROOT = Path(__file__).parents[1]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def stage() -> Stage:
    return find_suite("digits", None)[1].entries[0].evaluate


def publish(store: Store, stage: Stage, text: str = "hello") -> None:
    with store.aside(stage) as folder:
        (folder / "a.txt").write_text(text)
        store.publish(stage, folder, {"top": 1}, {"host": "h"})


def test_published_means_done_and_verified(store: Store, stage: Stage) -> None:
    assert not store.done(stage)
    publish(store, stage)
    assert store.done(stage)
    assert (store.verify(stage) / "a.txt").read_text() == "hello"
    assert store.manifest(stage)["payload"] == {"top": 1}
    assert list((store.root / "aside").iterdir()) == []


def test_the_second_publisher_of_a_key_changes_nothing(store: Store, stage: Stage) -> None:
    publish(store, stage, "first")
    publish(store, stage, "second")
    assert (store.verify(stage) / "a.txt").read_text() == "first"
    assert list((store.root / "aside").iterdir()) == []


def test_a_stage_that_fails_leaves_nothing(store: Store, stage: Stage) -> None:
    with pytest.raises(ZeroDivisionError), store.aside(stage) as folder:
        (folder / "a.txt").write_text("half")
        raise ZeroDivisionError
    assert not store.done(stage)
    assert list((store.root / "aside").iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_killed_at_any_call_of_a_publish_leaves_no_half_artefact(store: Store, stage: Stage, call: str) -> None:
    """A child kills itself at its k-th fsync or rename; afterwards the artefact is whole or absent, and can be made."""
    outcomes = set()
    for k in range(1, 9):
        child = subprocess.run([sys.executable, "-c", KILLED, str(store.root), call, str(k)], cwd=ROOT)
        assert child.returncode in (0, -signal.SIGKILL)
        outcomes.add((child.returncode, store.done(stage)))
        assert store.artefact(stage).exists() == store.done(stage)
        if store.done(stage):
            store.verify(stage)
    publish(store, stage)
    assert (store.verify(stage) / "a.txt").exists()
    assert list((store.root / "aside").iterdir()) == [], "what the killed ones left is cleared away"
    assert (-signal.SIGKILL, False) in outcomes, "no kill came before the artefact was visible: the test tests nothing"


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.benchmark import find_suite
from harness.store import Store
root, call, k = sys.argv[1], sys.argv[2], int(sys.argv[3])
original, left = getattr(os, call), [k]
def counted(*arguments):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
setattr(os, call, counted)
store, stage = Store(Path(root)), find_suite("digits", None)[1].entries[0].evaluate
with store.aside(stage) as folder:
    (folder / "a.txt").write_text("from a child")
    store.publish(stage, folder, {}, {})
"""


def test_a_stage_that_was_never_published_has_no_manifest(store: Store, stage: Stage) -> None:
    with pytest.raises(UserError, match="is not in the store"):
        store.manifest(stage)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_file_is_named(store: Store, stage: Stage, damage: str) -> None:
    publish(store, stage)
    path = store.artefact(stage) / "a.txt"
    if damage == "remove":
        path.unlink()
    else:
        path.write_text("hellO" if damage == "flip" else "hell")
    with pytest.raises(UserError, match=f"{path} is damaged or missing: delete"):
        store.verify(stage)


def test_every_file_is_flushed_before_the_artefact_appears(
    store: Store, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut a name can be there with no bytes behind it, unless they were flushed before the rename."""
    calls: list[str] = []
    for name in ("fsync", "rename", "replace"):
        monkeypatch.setattr(os, name, recorded(getattr(os, name), calls))
    publish(store, stage)
    target = store.artefact(stage)
    kinds = [(call.split()[0], Path(call.split()[1]).name) for call in calls]
    assert kinds[0] == ("fsync", "a.txt")
    manifest = next(i for i, (kind, name) in enumerate(kinds) if kind == "replace" and name == MANIFEST)
    assert kinds[manifest - 1][0] == "fsync", "the manifest's bytes"
    assert kinds[manifest + 1][0] == "fsync", "the folder that got it"
    assert calls[-2:] == [f"rename {target}", f"fsync {target.parent}"]


def recorded(call: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    """The same call, noted with the path that it makes durable or visible."""

    def noted(*arguments: Any) -> Any:
        last = arguments[-1]
        calls.append(f"{call.__name__} {os.readlink(f'/proc/self/fd/{last}') if isinstance(last, int) else last}")
        return call(*arguments)

    return noted


def test_specs_come_back_by_key(store: Store, stage: Stage) -> None:
    pending, stages = [stage], []
    while pending:
        stages.append(pending.pop())
        pending += stages[-1].inputs()
    store.write_specs(stages)
    assert store.read_spec(stage.key) == stage
    with pytest.raises(UserError, match="knows no stage ffffffffffff"):
        store.read_spec("f" * 64)
    with pytest.raises(UserError, match="is not a key"):
        store.read_spec("../../etc/passwd")


def test_a_spec_that_was_edited_is_refused(store: Store, stage: Stage) -> None:
    leaf = stage
    while leaf.inputs():
        leaf = leaf.inputs()[-1]
    store.write_specs([leaf])
    (path,) = store.root.glob("specs/*/*.json")
    form = json.loads(path.read_text())
    form["source"]["seed"] += 1
    path.write_text(json.dumps(form))
    with pytest.raises(UserError, match="has another key now"):
        store.read_spec(leaf.key)


def test_an_unwritable_store_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to the store .*file.*--store DIR"):
        Store(tmp_path / "file").require_writable()


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_what_nobody_can_look_at_is_not_taken_for_missing(
    store: Store, stage: Stage, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Or it would be computed again for days."""
    publish(store, stage)

    def broken(path: Path, *_: object) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(builtins, "open", broken)
    with pytest.raises(UserError, match=rf"^cannot look at {store.artefact(stage)}/{MANIFEST}: {os.strerror(number)}$"):
        store.has(stage.name, stage.key)


@pytest.mark.parametrize(("mode", "shared"), [(0o2775, True), (0o755, False)])
def test_in_a_store_of_a_group_whatever_is_written_is_the_groups(tmp_path: Path, mode: int, shared: bool) -> None:
    """And in a store of one's own nothing is."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(mode)
    before = os.umask(0o022)
    try:
        Store(tmp_path / "store").require_writable()
        (tmp_path / "store" / "file").write_text("")
    finally:
        os.umask(before)
    for name in ("aside", "file"):
        assert bool((tmp_path / "store" / name).stat().st_mode & 0o020) == shared
