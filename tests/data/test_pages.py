"""A write that ended early is taken up again: same bytes, and nothing is read twice that is on a finished page."""

import errno
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.data import _ffcv
from harness.data._arrays import ArrayImages
from harness.data._pages import WRITERS, Pages
from harness.data.writer import write
from harness.errors import UserError

COUNT, PER_PAGE = 43, 4
"""Images, and those that fit on a page: ten full pages and one of three."""
UNDER_WAY = WRITERS + 1
"""Pages that are full, and not in the log when the next one fills."""


class Killed(BaseException):
    """As a kill does, it leaves no time for anything."""


class Watched:
    """Images that remember which of them were read, and at one of which the process ends."""

    def __init__(self, *, seed: int = 0, listing: str = "noise", killed_at: int = -1) -> None:
        noise = np.random.default_rng(seed).integers(0, 256, (COUNT, 30, 40, 3), dtype=np.uint8)
        self._images = ArrayImages(noise, [i % 3 for i in range(COUNT)], "abc", listing=listing)
        self._killed_at = killed_at
        self.read: list[int] = []
        self.class_names: Sequence[str] = self._images.class_names
        self.labels: Sequence[int] = self._images.labels
        self.listing = listing

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], str]:
        if index == self._killed_at:
            raise Killed
        self.read.append(index)
        return self._images[index]


Whole = tuple[bytes, str, str]


def log_of(path: Path) -> Path:
    return path.with_suffix(".jsonl")


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ffcv, "PAGE_BYTES", 1 << 14)
    assert PER_PAGE * 30 * 40 * 3 <= 1 << 14 < (PER_PAGE + 1) * 30 * 40 * 3


def written(images: Watched, path: Path, **options: Any) -> str:
    options = {"max_side": None, "jpeg_share": 0.0, "quality": 90, "workers": 1, "patience_s": 60.0, **options}
    return write(images, path, progress=lambda *_: None, **options)


def killed(path: Path, at: int, **options: Any) -> int:
    """Leave what a write that ends at image `at` leaves. Returns how many images are on finished pages."""
    with pytest.raises(Killed):
        written(Watched(killed_at=at), path, **options)
    return sum(len(json.loads(line)["holds"]) for line in log_of(path).read_text().splitlines()[1:])


def leave(path: Path, pages: int, **options: Any) -> None:
    """Leave this many finished pages."""
    assert killed(path, (pages + UNDER_WAY) * PER_PAGE + 1, **options) == pages * PER_PAGE


@pytest.fixture
def whole(tmp_path: Path) -> Whole:
    """An uninterrupted file, its log, and what its write returned."""
    path = tmp_path / "whole.beton"
    content = written(Watched(), path)
    return path.read_bytes(), log_of(path).read_text(), content


def resumed(path: Path, whole: Whole, **options: Any) -> list[int]:
    """Write again; everything is as after an uninterrupted write. Returns what was read."""
    images = Watched()
    content = written(images, path, **options)
    assert (path.read_bytes(), log_of(path).read_text(), content) == whole
    return sorted(images.read)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("at", [0, 1, 4 * PER_PAGE, 4 * PER_PAGE + 1, 7 * PER_PAGE - 1, 9 * PER_PAGE + 1, COUNT - 1])
def test_it_goes_on_at_the_first_image_that_is_on_no_finished_page(
    tmp_path: Path, whole: Whole, at: int, workers: int
) -> None:
    path = tmp_path / "a.beton"
    finished = killed(path, at, workers=workers)
    assert at - finished <= (UNDER_WAY + 1) * PER_PAGE
    assert resumed(path, whole, workers=workers) == list(range(finished, COUNT))


def test_killed_again_and_again(tmp_path: Path, whole: Whole) -> None:
    path = tmp_path / "a.beton"
    finished = [killed(path, at) for at in (2, 18, 25, 26, 40)]
    assert finished == sorted(finished) and finished[-1] > 5 * PER_PAGE
    assert resumed(path, whole) == list(range(finished[-1], COUNT))


def test_a_disk_that_takes_little_at_a_time(tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    put = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, position: put(file, data[:5000], position))
    assert resumed(tmp_path / "a.beton", whole) == list(range(COUNT))


def test_a_complete_file_is_only_looked_at(tmp_path: Path, whole: Whole) -> None:
    path = tmp_path / "a.beton"
    written(Watched(), path)
    assert resumed(path, whole) == []


def test_killed_between_the_last_page_and_the_head(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    path = tmp_path / "a.beton"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Pages, "enclose", die)
        written(Watched(), path)
    assert resumed(path, whole) == []


@pytest.mark.parametrize("torn", [1, 2, 40, -1])
def test_a_torn_last_line_costs_its_page(tmp_path: Path, whole: Whole, torn: int) -> None:
    path = tmp_path / "a.beton"
    leave(path, 3)
    log = log_of(path).read_bytes()
    last = len(log.splitlines(keepends=True)[-1])
    log_of(path).write_bytes(log[: -torn if torn > 0 else -(last - 1)])
    leave(path, 4)
    assert resumed(path, whole) == list(range(4 * PER_PAGE, COUNT))


END_OF_THREE = 4 * (1 << 14)
"""Where three pages end: the head takes as much as one."""


@pytest.mark.parametrize("lost", [3 * (1 << 14), 1 << 13])
def test_a_page_that_a_power_cut_lost(tmp_path: Path, whole: Whole, lost: int) -> None:
    path = tmp_path / "a.beton"
    leave(path, 3)
    os.truncate(path, END_OF_THREE - lost)
    first = 0 if lost > 1 << 14 else 2 * PER_PAGE
    assert resumed(path, whole) == list(range(first, COUNT))


def test_what_lies_behind_the_last_page_does_not_stay(tmp_path: Path, whole: Whole) -> None:
    path = tmp_path / "a.beton"
    leave(path, 3)
    with path.open("ab") as file:
        file.write(b"x" * 20 * (1 << 14))
    assert resumed(path, whole) == list(range(3 * PER_PAGE, COUNT))


def test_a_damaged_page_and_all_behind_it_are_written_again(tmp_path: Path, whole: Whole) -> None:
    path = tmp_path / "a.beton"
    leave(path, 3)
    content = bytearray(path.read_bytes())
    content[END_OF_THREE - 2 * (1 << 14) + 17] ^= 1
    path.write_bytes(content)
    assert resumed(path, whole) == list(range(PER_PAGE, COUNT))


@pytest.mark.parametrize("line", ["[]", "{}", "7", '{"holds": [], "sha256": ""}', '{"holds": 3, "sha256": null}'])
def test_a_line_that_is_none_of_ours(tmp_path: Path, whole: Whole, line: str) -> None:
    path = tmp_path / "a.beton"
    leave(path, 3)
    lines = log_of(path).read_text().splitlines()
    log_of(path).write_text("\n".join([*lines[:2], line, *lines[3:]]) + "\n")
    assert resumed(path, whole) == list(range(PER_PAGE, COUNT))


def test_notes_that_do_not_fit_their_page(tmp_path: Path, whole: Whole) -> None:
    """A digest that changed in the log would change the fingerprint."""
    path = tmp_path / "a.beton"
    leave(path, 3)
    lines = log_of(path).read_text().splitlines()
    line = json.loads(lines[3])
    line["holds"][0][-1] = "0" * 64
    log_of(path).write_text("\n".join([*lines[:3], json.dumps(line)]) + "\n")
    assert resumed(path, whole) == list(range(2 * PER_PAGE, COUNT))


OTHERS = [{"listing": "other noise"}, {"quality": 80}, {"jpeg_share": 1e-6}, {"max_side": 39}]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_pages_of_other_images_or_settings_are_neither_taken_nor_dropped(
    tmp_path: Path, whole: Whole, other: dict[str, Any]
) -> None:
    """They may be hours of work, and the folder that was named a slip."""
    path = tmp_path / "a.beton"
    leave(path, 3)
    others = Watched(seed=1, listing=other.get("listing", "noise"))
    with pytest.raises(UserError, match=r"a\.beton was begun from other images: .* or remove .* to begin again"):
        written(others, path, **{name: value for name, value in other.items() if name != "listing"})
    assert others.read == []
    assert resumed(path, whole) == list(range(3 * PER_PAGE, COUNT))


def test_two_writers_of_one_file(tmp_path: Path, whole: Whole) -> None:
    path = tmp_path / "a.beton"
    leave(path, 3)
    first = Watched()
    with (
        _ffcv.Writer(path, first.labels, {}, 60.0),
        pytest.raises(UserError, match=r"a\.beton is being written by another"),
    ):
        written(first, path)
    assert first.read == []
    assert resumed(path, whole) == list(range(3 * PER_PAGE, COUNT))


def test_where_a_file_system_knows_no_locks_it_is_written_all_the_same(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the lease of the stage keeps others out."""

    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unknown)
    assert resumed(tmp_path / "a.beton", whole) == list(range(COUNT))


def test_the_content_is_of_every_image_in_order(tmp_path: Path, whole: Whole) -> None:
    images = Watched()
    digests = [images[i][1] for i in range(COUNT)]
    assert whole[-1] == hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()
    assert written(Watched(seed=1), tmp_path / "other.beton") != whole[-1]


def test_progress_counts_what_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "a.beton"
    leave(path, 2)
    told: list[int] = []
    write(
        Watched(), path, max_side=None, jpeg_share=0, quality=90, workers=1, patience_s=60.0,
        progress=lambda done, total: told.append(done),
    )  # fmt: skip
    assert told == [PER_PAGE, *range(2 * PER_PAGE, COUNT + 1)]
