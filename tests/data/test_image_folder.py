"""A user points `--data` at a folder, right or wrong."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data._folder import to_rgb
from harness.data.image_folder import ImageFolder
from harness.errors import UserError
from tests.data.official import complaint


@pytest.fixture
def tree(photos: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(photos, tmp_path / "data"))


def test_labels_follow_the_sorted_class_names(folder: ImageFolder, photos: Path) -> None:
    folder.check(photos)
    images = folder.split("train", photos)
    assert images.class_names == ["ant", "bee", "cow"]
    assert images.labels == [0] * 9 + [1] * 8 + [2] * 6
    pixels, _ = images[9]
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    assert np.array_equal(pixels, np.asarray(Image.open(photos / "train" / "bee" / "0.jpg")))
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


def test_the_digest_of_an_image_is_of_its_file(folder: ImageFolder, photos: Path, tree: Path) -> None:
    first, second = (folder.split("train", photos)[i][1] for i in (0, 1))
    assert folder.split("train", tree)[0][1] == first != second
    path = tree / "train" / "ant" / "0.jpg"
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    assert folder.split("train", tree)[0][1] == hashlib.sha256(content).hexdigest() != first


def test_the_listing_tells_one_folder_from_another(folder: ImageFolder, photos: Path, tree: Path) -> None:
    original = folder.listing(photos)
    assert folder.listing(tree) == original, "the place of a folder is no part of it"
    image = tree / "train" / "ant" / "0.jpg"
    image.rename(image.with_name("00.jpg"))
    renamed = folder.listing(tree)
    (tree / "train" / "ant" / "00.jpg").rename(tree / "train" / "bee" / "00.jpg")
    moved = folder.listing(tree)
    assert len({original["train"], renamed["train"], moved["train"]}) == 3
    assert original["val"] == renamed["val"] == moved["val"]
    assert [folder.split(split, tree).listing for split in ("train", "val")] == list(moved.values())
    for split in ("train", "val"):
        (tree / split / "cow").rename(tree / split / "cows")
    assert folder.listing(tree)["val"] != moved["val"]


def test_a_tree_is_walked_once(folder: ImageFolder, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million files on a slow file system are listed once to check a folder, and once to read both splits."""
    walked: list[str] = []
    look = os.listdir

    def watch(path: Path) -> list[str]:
        walked.append(path.name)
        return look(path)

    monkeypatch.setattr(os, "listdir", watch)
    folder.check(photos)
    assert walked == ["ant", "bee", "cow"] * 2
    walked.clear()
    images = [folder.split(split, photos) for split in ("train", "val")]
    assert [len(split) for split in images] == [23, 5]
    assert walked == ["ant", "bee", "cow"] * 2


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_side", 0), ("max_side", -500), ("jpeg_share", -0.1), ("jpeg_share", 1.5), ("quality", 0), ("quality", 101)],
)
def test_sizes_and_qualities_that_do_not_exist(option: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{option} of photos is {value}: it must be "):
        ImageFolder(name="photos", **{option: value})  # type: ignore[arg-type]


def test_the_extremes_that_do_exist() -> None:
    ImageFolder(name="photos", max_side=None, jpeg_share=0, quality=1)
    ImageFolder(name="photos", max_side=1, jpeg_share=1, quality=100)


def test_the_defaults_are_those_of_ffcv_imagenet() -> None:
    source = ImageFolder(name="imagenet")
    assert (source.max_side, source.jpeg_share, source.quality) == (500, 0.5, 90)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (5, 3)))
    grey.convert(mode).save(tmp_path / "image.png")
    pixels = to_rgb((tmp_path / "image.png").read_bytes())
    assert pixels.shape == (5, 6, 3) and pixels.dtype == np.uint8
    assert pixels[:, ::2].max() == 0 and pixels[:, 1::2].min() == 255


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red.save(tmp_path / "image.jpg")
    assert np.abs(to_rgb((tmp_path / "image.jpg").read_bytes()).astype(int) - [255, 0, 0]).max() < 8


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 256, 0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "image.png")
    assert to_rgb((tmp_path / "image.png").read_bytes())[0, :, 0].tolist() == [0, 1, 128, 255]
