"""`harness data prepare` as a user types it: once, again, with another folder, and after a kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.benchmark import find_suite
from harness.cli import main
from harness.data.writer import write
from harness.stages.prepare import Prepare
from harness.store import Store
from tests.conftest import write_photo_tree

ROOT = Path(__file__).parents[2]
Tree = Callable[..., Path]


def smoke_set() -> Prepare:
    """The one image set of the smoke suite."""
    (prepare,) = {entry.evaluate.data for entry in find_suite("imagenet", "smoke")[1].entries}
    return prepare


def command(data: Path, store: Path) -> list[str]:
    return ["data", "prepare", "imagenet", "--suite", "smoke", "--data", str(data), "--store", str(store)]


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], tuple[int, str, str]]:
    """Runs the command on a data folder: exit code, output, errors."""

    def run(data: Path) -> tuple[int, str, str]:
        code = main(command(data, tmp_path / "store"))
        output, errors = capsys.readouterr()
        return code, output, errors

    return run


def state(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


def test_fresh_again_and_with_another_folder(
    typed: Callable[[Path], tuple[int, str, str]], photo_tree: Tree, tmp_path: Path
) -> None:
    root, store = photo_tree(), tmp_path / "store"
    code, output, errors = typed(root)
    assert (code, errors) == (0, "")
    artefact = Store(store).artefact(smoke_set())
    assert "train 12/12 images" in output and "val 6/6 images" in output
    told, where = output.splitlines()[-2:]
    assert told.startswith("imagenet-smoke is prepared: 3 classes, 12 train + 6 val images, sha256 ")
    size = sum(path.stat().st_size for path in artefact.iterdir() if path.name != "manifest.json")
    assert where.strip() == f"{size / 1e6:,.1f} MB in {artefact}"
    assert not (store / "unfinished").exists() or not list((store / "unfinished").rglob("*.beton"))

    before = state(store)
    code, again, errors = typed(root)
    assert (code, errors) == (0, "")
    assert again.splitlines() == [told.replace("is prepared", "was prepared already"), where]

    (root / "train" / "class000" / "0.jpg").rename(root / "train" / "class000" / "other.jpg")
    code, output, errors = typed(root)
    assert (code, output) == (2, "")
    assert (
        errors == f"error: {store} holds imagenet-smoke prepared from other images than {root}: use another --store\n"
    )
    assert state(store) == before


def test_a_folder_that_is_none(typed: Callable[[Path], tuple[int, str, str]], tmp_path: Path) -> None:
    code, output, errors = typed(tmp_path / "none")
    assert (code, output) == (2, "")
    assert errors.startswith(f"error: data folder {tmp_path / 'none'} does not exist")
    assert not (tmp_path / "store").exists()


def test_an_unreadable_image(typed: Callable[[Path], tuple[int, str, str]], photo_tree: Tree, tmp_path: Path) -> None:
    root = photo_tree()
    bad = root / "train" / "class001" / "2.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    code, _, errors = typed(root)
    assert code == 2
    assert errors.startswith(f"error: cannot read image {bad} ")
    assert not list((tmp_path / "store" / "prepare").rglob("*"))


def test_a_set_that_needs_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "digits", "--store", str(tmp_path / "store"), "--workers", "2"]) == 0
    assert "digits is prepared: 10 classes, 1437 train + 360 val images, sha256 " in capsys.readouterr().out


def many_photos(root: Path) -> Path:
    """Enough of them for several pages: 2,000 names of ten files."""
    write_photo_tree(root, classes=1, train=10, val=1)
    folder = root / "train" / "class000"
    for number in range(10, 2000):
        os.link(folder / f"{number % 10}.jpg", folder / f"{number}.jpg")
    return root


def test_killed_it_goes_on_and_the_files_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    root, store = many_photos(tmp_path / "photos"), Store(tmp_path / "store")
    prepare = smoke_set()
    unfinished = store.unfinished(prepare)
    typed = [sys.executable, "-m", "harness.cli", *command(root, store.root), "--workers", "1"]
    first = subprocess.Popen(typed, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end, log = time.monotonic() + 120, unfinished / "train.jsonl"
    while not (log.exists() and log.read_bytes().count(b"\n") >= 3):  # whose pages they are, and two pages
        assert first.poll() is None and time.monotonic() < end
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    pages, file = log.read_bytes().count(b"\n") - 1, (unfinished / "train.beton").stat().st_ino
    assert not store.done(prepare)

    second = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert "1 classes, 2000 train + 1 val images, sha256 " in second.stdout
    made = store.artefact(prepare) / "train.beton"
    source = prepare.source
    write(
        source.split("train", root), tmp_path / "undisturbed.beton", max_side=source.max_side,
        jpeg_share=source.jpeg_share, quality=source.quality, workers=2, patience_s=60.0, progress=lambda *_: None,
    )  # fmt: skip
    assert made.read_bytes() == (tmp_path / "undisturbed.beton").read_bytes()
    assert 2 <= pages < (tmp_path / "undisturbed.jsonl").read_bytes().count(b"\n") - 1, "it was not killed half-way"
    assert made.stat().st_ino == file, "the second run began a file of its own"
    assert not unfinished.exists()
    assert list((store.root / "aside").iterdir()) == []
