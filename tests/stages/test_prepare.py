"""The stage that turns a folder of images into a set: what it says of it, and what an attempt leaves for the next."""

import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.context import Context
from harness.data._folder import FolderImages
from harness.data.digits import Digits
from harness.data.image_folder import ImageFolder
from harness.data.prepared import Facts, Prepared
from harness.errors import UserError
from harness.journal import Journal
from harness.stages.prepare import Prepare
from harness.topology import Topology

Tree = Callable[..., Path]
PHOTOS = Prepare(source=ImageFolder(name="photos", max_side=100))
AGAIN = replace(PHOTOS, source=ImageFolder(name="again", max_side=100))


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Facts]:
    """Runs a stage into a fresh folder; attempts at it share what is unfinished."""

    def run(stage: Prepare, data: Path | None, attempt: str = "first") -> Facts:
        folder = tmp_path / attempt
        folder.mkdir()
        context = Context(
            topology=Topology(), device="cpu", folder=folder, journal=Journal(tmp_path / "journal"), data=data,
            unfinished=tmp_path / "unfinished" / stage.key, workers=2,
        )  # fmt: skip
        payload = stage.run({}, context)
        facts = Prepared(folder).facts
        assert json.loads(json.dumps(payload)) == json.loads((folder / "data.json").read_text())
        return facts

    return run


def test_the_fingerprint_tells_counts_and_content(prepare: Callable[..., Facts]) -> None:
    facts = prepare(Prepare(source=Digits()), None)
    assert re.fullmatch("10 classes, 1437 train \\+ 360 val images, sha256 [0-9a-f]{64}", facts.fingerprint)
    assert (facts.classes, facts.images) == (10, {"train": 1437, "val": 360})


def test_one_bit_of_one_file_moves_the_fingerprint(prepare: Callable[..., Facts], photo_tree: Tree) -> None:
    root = photo_tree()
    before = prepare(PHOTOS, root, "before")
    image = root / "val" / "class001" / "1.jpg"
    content = bytearray(image.read_bytes())
    content[15] ^= 1  # its density in dots, which no decoder minds
    image.write_bytes(content)
    after = prepare(AGAIN, root, "after")
    assert after.fingerprint.startswith("3 classes, 12 train + 6 val images, sha256 ")
    assert after.fingerprint != before.fingerprint
    assert after.listing == before.listing == PHOTOS.source.listing(root)


def test_a_class_by_another_name_moves_the_fingerprint(prepare: Callable[..., Facts], photo_tree: Tree) -> None:
    root = photo_tree()
    before = prepare(PHOTOS, root, "before")
    for split in ("train", "val"):
        (root / split / "class001").rename(root / split / "class001a")
    assert prepare(AGAIN, root, "after").fingerprint != before.fingerprint


def test_images_that_change_places_move_the_fingerprint(prepare: Callable[..., Facts], photo_tree: Tree) -> None:
    root = photo_tree()
    before = prepare(PHOTOS, root, "before")
    first, second, aside = (root / "train" / name for name in ("class000/0.jpg", "class001/0.jpg", "class000/aside"))
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    assert prepare(AGAIN, root, "after").fingerprint != before.fingerprint


def test_an_image_in_another_class_moves_the_fingerprint(prepare: Callable[..., Facts], photo_tree: Tree) -> None:
    root = photo_tree()
    before = prepare(PHOTOS, root, "before")
    (root / "train" / "class000" / "3.jpg").rename(root / "train" / "class001" / "!.jpg")  # same place, other label
    after = prepare(AGAIN, root, "after")
    assert after.fingerprint[:-64] == before.fingerprint[:-64]
    assert after.fingerprint != before.fingerprint


def test_the_fingerprint_is_of_the_raw_images_not_of_how_they_are_stored(
    prepare: Callable[..., Facts], photo_tree: Tree
) -> None:
    root = photo_tree()
    small = replace(PHOTOS, source=ImageFolder(name="photos", max_side=30, quality=50))
    assert prepare(PHOTOS, root, "large").fingerprint == prepare(small, root, "small").fingerprint


def test_an_attempt_that_failed_in_val_leaves_train(
    prepare: Callable[..., Facts], photo_tree: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = photo_tree()
    whole = prepare(replace(PHOTOS, source=ImageFolder(name="twin", max_side=100)), root, "whole")
    bad = root / "val" / "class001" / "1.jpg"
    good = bad.read_bytes()
    bad.write_bytes(b"no picture")
    with pytest.raises(UserError, match=f"cannot read image {bad}"):
        prepare(PHOTOS, root, "failed")
    assert list((tmp_path / "failed").iterdir()) == []
    bad.write_bytes(good)
    read: list[int] = []
    look = FolderImages.__getitem__

    def watch(images: FolderImages, index: int) -> tuple[NDArray[np.uint8], str]:
        read.append(index)
        return look(images, index)

    monkeypatch.setattr(FolderImages, "__getitem__", watch)
    assert prepare(PHOTOS, root, "second").fingerprint == whole.fingerprint
    assert sorted(read) == list(range(whole.images["val"]))
    for name in ("train.beton", "val.beton"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_killed_before_it_is_published_nothing_is_lost(
    prepare: Callable[..., Facts], photo_tree: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = photo_tree()
    facts = prepare(PHOTOS, root, "killed")
    monkeypatch.setattr(FolderImages, "__getitem__", lambda *_: pytest.fail("an image was read again"))
    assert prepare(PHOTOS, root, "second") == facts
    assert (tmp_path / "killed" / "train.beton").samefile(tmp_path / "second" / "train.beton")


def test_a_file_system_without_links(
    prepare: Callable[..., Facts], photo_tree: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    prepare(PHOTOS, photo_tree())
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["data.json", "train.beton", "val.beton"]
    assert not list((tmp_path / "unfinished").glob("*/*.beton"))


def test_the_journal_follows(prepare: Callable[..., Facts], photo_tree: Tree, tmp_path: Path) -> None:
    prepare(PHOTOS, photo_tree())
    events = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    last = {event["split"]: (event["done"], event["of"], event["seconds_left"]) for event in events}
    assert last == {"train": (12, 12, 0), "val": (6, 6, 0)}
    assert all(event["images_per_s"] > 0 for event in events)
