"""A user points `--data` at the folder that holds the unpacked archive, whole or damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.tiny_imagenet import TinyImagenet
from tests.data.official import TINY_IDS, complaint, tiny_imagenet

SOURCE = TinyImagenet()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder as it must be."""
    root = tmp_path_factory.mktemp("whole")
    tiny_imagenet(root, pytest.MonkeyPatch())
    return root


def test_labels_follow_the_sorted_ids_in_both_splits(whole: Path) -> None:
    train, val = SOURCE.split("train", whole), SOURCE.split("val", whole)
    assert train.class_names == val.class_names == TINY_IDS
    assert train.labels == [label for label in range(200) for _ in range(2)]
    assert val.labels == list(range(200))
    home = whole / "tiny-imagenet-200"
    trained = home / "train" / TINY_IDS[7] / "images" / f"{TINY_IDS[7]}_0.JPEG"
    assert np.array_equal(train[14][0], np.asarray(Image.open(trained)))
    assert np.array_equal(val[7][0], np.asarray(Image.open(home / "val" / "images" / "val_192.JPEG")))


def test_grey_images_become_rgb(whole: Path) -> None:
    grey, _ = SOURCE.split("train", whole)[1]
    assert grey.shape == (64, 64, 3) and np.array_equal(grey[..., 0], grey[..., 2])


def test_no_folder_or_an_empty_one(tmp_path: Path) -> None:
    for root in (None, tmp_path, tmp_path / "nowhere"):
        assert "holds tiny-imagenet-200/ from https://cs231n.stanford.edu/tiny-imagenet-200.zip" in complaint(
            SOURCE, root
        )


def test_another_number_of_classes(spoiled: Path) -> None:
    shutil.rmtree(spoiled / "tiny-imagenet-200" / "train" / TINY_IDS[3])
    assert "holds 199 classes, tiny_imagenet has 200" in complaint(SOURCE, spoiled)


@pytest.mark.parametrize("left", ["a class without images/", "an empty images/"])
def test_a_class_without_training_images(spoiled: Path, left: str) -> None:
    folder = spoiled / "tiny-imagenet-200" / "train" / TINY_IDS[3]
    shutil.rmtree(folder / "images")
    if left == "an empty images/":
        (folder / "images").mkdir()
    assert f"class folder {folder} holds no images" in complaint(SOURCE, spoiled)


def test_no_annotations(spoiled: Path) -> None:
    file = spoiled / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    file.unlink()
    assert f"cannot read {file}" in complaint(SOURCE, spoiled)


@pytest.mark.parametrize("damage", ["an image less", "a line less", "an unknown class", "a class without images"])
def test_annotations_that_do_not_fit(spoiled: Path, damage: str) -> None:
    val = spoiled / "tiny-imagenet-200" / "val"
    annotations = val / "val_annotations.txt"
    first, *rest = annotations.read_text().splitlines(keepends=True)
    if damage == "an image less":
        (val / "images" / "val_0.JPEG").unlink()
    elif damage == "a line less":
        annotations.write_text("".join(rest))
    elif damage == "an unknown class":
        annotations.write_text("".join([first.replace(TINY_IDS[0], "n99999999"), *rest]))
    else:
        annotations.write_text("".join([first.replace(TINY_IDS[0], TINY_IDS[1]), *rest]))
    assert f"{annotations} does not give each of {val / 'images'} a class" in complaint(SOURCE, spoiled)


def test_the_listing_changes_when_an_image_gets_another_class(whole: Path, spoiled: Path) -> None:
    annotations = spoiled / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    assert SOURCE.listing(spoiled) == SOURCE.listing(whole)
    text = annotations.read_text().replace(TINY_IDS[0], "x").replace(TINY_IDS[1], TINY_IDS[0]).replace("x", TINY_IDS[1])
    annotations.write_text(text)
    assert SOURCE.listing(spoiled)["val"] != SOURCE.listing(whole)["val"]
    assert SOURCE.listing(spoiled)["train"] == SOURCE.listing(whole)["train"]
