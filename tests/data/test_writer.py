"""From a folder of pictures to one file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.data._arrays import ArrayImages
from harness.data._ffcv import open_reader
from harness.data.image_folder import ImageFolder
from harness.data.writer import write
from harness.errors import UserError

Store = Callable[..., Path]


def stored_pixels(path: Path, index: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Image `index` of a file, whole."""
    reader = open_reader(path)
    height, width = int(reader.heights[index]), int(reader.widths[index])
    side = max(height, width)
    out = np.empty((1, side, side, 3), np.uint8)
    reader.decode(np.array([index]), np.array([[0, 0, side, side, 0]]), out)
    return out[0, :height, :width]


def test_sample_i_is_image_i(photos: Path, folder: ImageFolder, photo_file: Path) -> None:
    images = folder.split("train", photos)
    reader = open_reader(photo_file)
    assert reader.labels.tolist() == images.labels
    for i in range(len(images)):
        assert np.array_equal(stored_pixels(photo_file, i), images[i][0])


def test_jpeg_share_is_kept_and_jpegs_look_the_same(photos: Path, folder: ImageFolder, mixed_file: Path) -> None:
    images = folder.split("train", photos)
    differences = [np.abs(stored_pixels(mixed_file, i).astype(int) - images[i][0]).mean() for i in range(len(images))]
    lossy = sum(difference > 0 for difference in differences)
    assert 6 <= lossy <= 17
    assert max(differences) < 4


def test_long_sides_are_shrunk(photos: Path, folder: ImageFolder, store: Store) -> None:
    original = open_reader(store(folder.split("val", photos)))
    shrunk = open_reader(store(folder.split("val", photos), max_side=60))
    assert original.heights.max() > 60 and np.maximum(shrunk.heights, shrunk.widths).max() == 60
    ratio = (original.heights / original.widths) / (shrunk.heights / shrunk.widths)
    assert ratio == pytest.approx(1, abs=0.05)


def test_bytes_depend_on_the_images_alone(photos: Path, folder: ImageFolder, mixed_file: Path, store: Store) -> None:
    again = store(folder.split("train", photos), jpeg_share=0.5, workers=3)
    assert again.read_bytes() == mixed_file.read_bytes()


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    images = ArrayImages(np.zeros((3, 8, 8, 3), np.uint8), [0, 1, 2], "abc", listing="black")
    write(
        images,
        tmp_path / "file",
        max_side=None,
        jpeg_share=0,
        quality=90,
        workers=1,
        patience_s=60.0,
        progress=lambda *numbers: told.append(numbers),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_unreadable_images_are_named_and_counted(
    folder: ImageFolder, photos: Path, tmp_path: Path, store: Store
) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "data"))
    for name in ("ant/3.jpg", "bee/0.jpg", "cow/5.png"):
        (root / "train" / name).write_bytes(b"no picture")
    with pytest.raises(UserError) as caught:
        store(folder.split("train", root), workers=2)
    message = str(caught.value)
    assert f"cannot read image {root / 'train' / 'ant/3.jpg'} " in message
    assert message.endswith("and 2 more images cannot be read") and "\n" not in message


def test_an_image_too_large_for_a_page(store: Store) -> None:
    huge = np.broadcast_to(np.zeros((1, 1, 1, 1), np.uint8), (1, 2000, 2000, 3))
    with pytest.raises(UserError, match="image 0 is 2000 x 2000, too large to store: set a max_side"):
        store(ArrayImages(huge, [0], ["a"], listing="huge"))


@pytest.mark.parametrize("jpeg_share", [0.0, 1.0])
def test_an_image_too_long_for_the_format(store: Store, jpeg_share: float) -> None:
    long = np.zeros((1, 2, 70_000, 3), np.uint8)
    with pytest.raises(UserError, match="image 0 is 70000 x 2, too large to store: set a max_side"):
        store(ArrayImages(long, [0], ["a"], listing="long"), jpeg_share=jpeg_share)


def test_a_thread_of_an_image_keeps_a_pixel_of_width(store: Store) -> None:
    thin = np.full((1, 3000, 2, 3), 77, np.uint8)
    reader = open_reader(store(ArrayImages(thin, [0], ["a"], listing="thin"), max_side=500))
    assert (reader.heights.tolist(), reader.widths.tolist()) == ([500], [1])


def test_no_images_at_all(store: Store) -> None:
    with pytest.raises(UserError, match="no images to write"):
        store(ArrayImages(np.zeros((0, 8, 8, 3), np.uint8), [], ["a"], listing="none"))


def test_jpeg_share_and_quality_do_what_they_say(photos: Path, folder: ImageFolder, store: Store) -> None:
    images = folder.split("train", photos)

    def written(**options: float) -> tuple[int, float]:
        """Images that are not stored pixel by pixel, and how far a pixel is off."""
        path = store(images, **options)
        off = [np.abs(stored_pixels(path, i).astype(int) - images[i][0]).mean() for i in range(len(images))]
        return sum(error > 0 for error in off), sum(off)

    assert written(jpeg_share=0.0) == (0, 0.0)
    (all_good, little), (all_bad, much) = written(jpeg_share=1.0, quality=95), written(jpeg_share=1.0, quality=10)
    assert all_good == all_bad == len(images)
    assert much > 3 * little
