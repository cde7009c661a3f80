"""A user points `--data` at the folder that holds the unpacked archive of birds, whole or damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data._ffcv import open_reader
from harness.data.cub200 import Cub200
from harness.data.prepared import Prepared
from harness.run import run_stages
from harness.stages.prepare import Prepare
from harness.store import Store
from harness.topology import Topology
from tests.data.official import BIRDS, complaint, cub200

SOURCE = Cub200()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder as it must be."""
    root = tmp_path_factory.mktemp("whole")
    cub200(root, pytest.MonkeyPatch())
    return root


def edit(root: Path, name: str, number: int, line: str) -> Path:
    """Replace a line, which is number `number` and about this id, by other text."""
    file = root / "CUB_200_2011" / name
    lines = file.read_text().splitlines(keepends=True)
    lines[number - 1] = line
    file.write_text("".join(lines))
    return file


def test_labels_and_split_are_the_official_ones(whole: Path) -> None:
    train, val = SOURCE.split("train", whole), SOURCE.split("val", whole)
    assert train.class_names == val.class_names == BIRDS
    assert train.labels == val.labels == list(range(200))
    folder = whole / "CUB_200_2011" / "images" / BIRDS[7]
    assert np.array_equal(train[7][0], np.asarray(Image.open(folder / "Bird_0016.jpg")))
    assert np.array_equal(val[7][0], np.asarray(Image.open(folder / "Bird_0015.jpg")))


def test_labels_follow_the_ids_of_classes_and_not_their_names(spoiled: Path) -> None:
    edit(spoiled, "classes.txt", 1, f"2 {BIRDS[0]}\n")
    edit(spoiled, "classes.txt", 2, f"1 {BIRDS[1]}\n")
    for image, label in ((1, 2), (2, 2), (3, 1), (4, 1)):
        edit(spoiled, "image_class_labels.txt", image, f"{image} {label}\n")
    assert list(SOURCE.split("val", spoiled).class_names[:3]) == [BIRDS[1], BIRDS[0], BIRDS[2]]


def test_grey_photos_become_rgb(whole: Path) -> None:
    grey, _ = SOURCE.split("train", whole)[0]
    assert grey.shape == (24, 24, 3) and np.array_equal(grey[..., 0], grey[..., 2])


def test_a_file_that_no_text_file_names_is_in_no_split(whole: Path, spoiled: Path) -> None:
    images = spoiled / "CUB_200_2011" / "images"
    shutil.copy(images / BIRDS[1] / "Bird_0003.jpg", images / BIRDS[0])
    assert SOURCE.listing(spoiled) == SOURCE.listing(whole)
    assert len(SOURCE.split("train", spoiled)) == len(SOURCE.split("val", spoiled)) == 200


def test_bounding_boxes_are_not_needed(whole: Path, spoiled: Path) -> None:
    (spoiled / "CUB_200_2011" / "bounding_boxes.txt").unlink()
    assert SOURCE.listing(spoiled) == SOURCE.listing(whole)


def test_the_listing_changes_when_photos_change_places(whole: Path, spoiled: Path) -> None:
    for image, is_train in ((1, 0), (2, 1)):
        edit(spoiled, "train_test_split.txt", image, f"{image} {is_train}\n")
    before, after = SOURCE.listing(whole), SOURCE.listing(spoiled)
    assert before["train"] != after["train"] and before["val"] != after["val"]


def test_both_splits_are_prepared(whole: Path, tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Prepare(source=SOURCE)
    run_stages([stage], store, Topology(), data=whole, workers=1, listener=lambda *_: None)
    facts = Prepared(store.artefact(stage)).facts
    assert facts.fingerprint.startswith("200 classes, 200 train + 200 val images, sha256 ")
    assert facts.listing == SOURCE.listing(whole)
    for split in ("train", "val"):
        assert open_reader(store.artefact(stage) / f"{split}.beton").labels.tolist() == list(range(200))


def test_no_folder_or_an_empty_one(tmp_path: Path) -> None:
    for root in (None, tmp_path, tmp_path / "nowhere"):
        assert "holds CUB_200_2011/ from https://data.caltech.edu/records/20098" in complaint(SOURCE, root)


@pytest.mark.parametrize("name", ["classes.txt", "images.txt", "image_class_labels.txt", "train_test_split.txt"])
def test_a_text_file_that_is_not_there(spoiled: Path, name: str) -> None:
    file = spoiled / "CUB_200_2011" / name
    file.unlink()
    assert f"cannot read {file} (No such file or directory): unpack CUB_200_2011.tgz again" in complaint(
        SOURCE, spoiled
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("classes.txt", "3"),
        ("images.txt", "3 Bird_0003.jpg"),
        ("image_class_labels.txt", "3 two"),
        ("train_test_split.txt", "3 2"),
    ],
)
def test_a_damaged_line(spoiled: Path, name: str, line: str) -> None:
    file = edit(spoiled, name, 3, f"{line}\n")
    assert f"line 3 of {file} is damaged, {line!r}: unpack" in complaint(SOURCE, spoiled)


def test_an_image_may_not_be_in_both_splits(spoiled: Path) -> None:
    file = edit(spoiled, "images.txt", 2, f"2 {BIRDS[0]}/Bird_0001.jpg\n")
    assert f"line 2 of {file} repeats an earlier one" in complaint(SOURCE, spoiled)


def test_an_id_may_not_come_twice(spoiled: Path) -> None:
    file = edit(spoiled, "train_test_split.txt", 2, "1 0\n")
    assert f"line 2 of {file} repeats an earlier one" in complaint(SOURCE, spoiled)


@pytest.mark.parametrize(("line", "count"), [("", 199), (f"0 {BIRDS[199]}\n", 200)])
def test_other_classes(spoiled: Path, line: str, count: int) -> None:
    file = edit(spoiled, "classes.txt", 200, line)
    assert f"{file} lists {count} classes, cub200 has 200, numbered from 1" in complaint(SOURCE, spoiled)


def test_files_about_different_images(spoiled: Path) -> None:
    home = spoiled / "CUB_200_2011"
    edit(spoiled, "train_test_split.txt", 400, "")
    assert f"image 400 is in {home / 'images.txt'} but not in train_test_split.txt" in complaint(SOURCE, spoiled)
    edit(spoiled, "train_test_split.txt", 399, "399 0\n400 1\n401 0\n")
    assert f"image 401 is in {home / 'train_test_split.txt'} but not in images.txt" in complaint(SOURCE, spoiled)


@pytest.mark.parametrize("label", [2, 201])
def test_a_label_that_is_not_the_folder(spoiled: Path, label: int) -> None:
    edit(spoiled, "image_class_labels.txt", 1, f"1 {label}\n")
    file = spoiled / "CUB_200_2011" / "images.txt"
    assert f"image 1 of {file} lies in {BIRDS[0]}, which is not class {label}" in complaint(SOURCE, spoiled)


@pytest.mark.parametrize(("image", "line", "kind"), [(1, "1 0\n", "training"), (2, "2 1\n", "test")])
def test_a_class_that_is_missing_from_a_split(spoiled: Path, image: int, line: str, kind: str) -> None:
    file = edit(spoiled, "train_test_split.txt", image, line)
    assert f"{file} leaves {BIRDS[0]} without {kind} images" in complaint(SOURCE, spoiled)


@pytest.mark.parametrize("lost", ["a photo", "a folder"])
def test_a_photo_that_is_listed_but_not_there(spoiled: Path, lost: str) -> None:
    folder = spoiled / "CUB_200_2011" / "images" / BIRDS[4]
    if lost == "a folder":
        shutil.rmtree(folder)
    else:
        (folder / "Bird_0009.jpg").unlink()
    assert f"image {folder / 'Bird_0009.jpg'} is in images.txt, but the file is not there" in complaint(SOURCE, spoiled)
