"""A user points `--data` at a folder, right or wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data._folder import read_rgb
from harness.data.image_folder import ImageFolder
from harness.errors import UserError


@pytest.fixture
def tree(photos: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(photos, tmp_path / "data"))


def complaint(folder: ImageFolder, root: Path | None) -> str:
    with pytest.raises(UserError) as caught:
        folder.check(root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_labels_follow_the_sorted_class_names(folder: ImageFolder, photos: Path) -> None:
    folder.check(photos)
    images = folder.split("train", photos)
    assert images.class_names == ["ant", "bee", "cow"]
    assert images.labels == [0] * 9 + [1] * 8 + [2] * 6
    pixels, label = images[9]
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and label == 1
    assert len(folder.split("val", photos)) == 5


def test_no_folder_given(folder: ImageFolder) -> None:
    assert complaint(folder, None) == (
        "photos needs a data folder: pass --data DIR holding train/<class>/* and val/<class>/*"
    )


def test_folder_that_does_not_exist(folder: ImageFolder, tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'} does not exist" in complaint(folder, tmp_path / "nowhere")


def test_a_file_in_its_place(folder: ImageFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file'} is not a folder" in complaint(folder, tmp_path / "file")


def test_empty_folder(folder: ImageFolder, tmp_path: Path) -> None:
    assert f"{tmp_path} has no train/ folder: pass --data DIR" in complaint(folder, tmp_path)


def test_splits_without_classes(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    assert f"{tmp_path} holds no class folders: pass --data DIR" in complaint(ImageFolder(name="any"), tmp_path)


def test_the_folder_may_decide_how_many_classes(photos: Path) -> None:
    ImageFolder(name="any").check(photos)


def test_no_val(folder: ImageFolder, tree: Path) -> None:
    shutil.rmtree(tree / "val")
    assert f"{tree} has no val/ folder" in complaint(folder, tree)


@pytest.mark.parametrize(("here", "there"), [("train", "val"), ("val", "train")])
def test_class_in_one_split_only(folder: ImageFolder, tree: Path, here: str, there: str) -> None:
    shutil.rmtree(tree / there / "bee")
    assert f"class 'bee' is in {tree / here} but not in {tree / there}" in complaint(folder, tree)


def test_class_folder_without_images(folder: ImageFolder, tree: Path) -> None:
    shutil.rmtree(tree / "val" / "cow")
    (tree / "val" / "cow").mkdir()
    (tree / "val" / "cow" / "notes.txt").write_text("moo")
    (tree / "val" / "cow" / "._0.jpg").write_text("left by a file manager")
    assert f"{tree / 'val' / 'cow'} holds no images" in complaint(folder, tree)


def test_another_number_of_classes(photos: Path) -> None:
    other = ImageFolder(name="imagenet", classes=1000)
    assert f"{photos} holds 3 classes, imagenet has 1000" in complaint(other, photos)


def test_split_checks_first(folder: ImageFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no train/ folder"):
        folder.split("train", tmp_path)


def test_unreadable_image_is_named(folder: ImageFolder, tree: Path) -> None:
    bad = tree / "train" / "ant" / "0.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(UserError, match=f"cannot read image {bad} "):
        folder.split("train", tree)[0]


def test_fingerprint_tells_data_apart(folder: ImageFolder, photos: Path, tree: Path) -> None:
    original = folder.split("train", photos).fingerprint
    assert folder.split("train", tree).fingerprint == original, "the place of a folder is no part of it"
    assert folder.split("val", tree).fingerprint != original
    with (tree / "train" / "ant" / "0.jpg").open("ab") as file:
        file.write(b"\0")
    longer = folder.split("train", tree).fingerprint
    (tree / "train" / "ant" / "0.jpg").rename(tree / "train" / "ant" / "00.jpg")
    assert len({original, longer, folder.split("train", tree).fingerprint}) == 3


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (5, 3)))
    grey.convert(mode).save(tmp_path / "image.png")
    pixels = read_rgb(tmp_path / "image.png")
    assert pixels.shape == (5, 6, 3) and pixels.dtype == np.uint8
    assert pixels[:, ::2].max() == 0 and pixels[:, 1::2].min() == 255


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red.save(tmp_path / "image.jpg")
    assert np.abs(read_rgb(tmp_path / "image.jpg").astype(int) - [255, 0, 0]).max() < 8


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 256, 0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "image.png")
    assert read_rgb(tmp_path / "image.png")[0, :, 0].tolist() == [0, 1, 128, 255]
