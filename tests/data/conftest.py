"""Small data sets, made once for all tests of this folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.digits import Digits
from harness.data.image_folder import ImageFolder
from harness.data.source import Images
from harness.data.writer import write

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
COUNTS = {"train": {"ant": 9, "bee": 8, "cow": 6}, "val": {"ant": 2, "bee": 2, "cow": 1}}


def save_photo(path: Path, height: int, width: int, seed: int) -> None:
    """A smooth random picture, so that JPEG and resizing keep it recognisable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=95)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of 23 + 5 photos in three classes, no two of the same size, flat, tall and square."""
    root = tmp_path_factory.mktemp("photos")
    number = 0
    for split, classes in COUNTS.items():
        for name, count in classes.items():
            for i in range(count):
                height, width = 40 + 7 * (number % 9), 90 - 5 * (number % 11)
                save_photo(root / split / name / f"{i}{('.jpg', '.JPEG', '.png')[i % 3]}", height, width, number)
                number += 1
    return root


@pytest.fixture(scope="session")
def folder() -> ImageFolder:
    """The spec of `photos`."""
    return ImageFolder(name="photos", classes=3, mean=ZERO, std=ONE)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes images as an FFCV file and says where."""
    root = tmp_path_factory.mktemp("stored")

    def stored(
        images: Images, max_side: int | None = None, jpeg_share: float = 0.0, quality: int = 90, workers: int = 1
    ) -> Path:
        path = root / f"{len(list(root.iterdir()))}.beton"
        write(
            images,
            path,
            max_side=max_side,
            jpeg_share=jpeg_share,
            quality=quality,
            workers=workers,
            patience_s=60.0,
            progress=lambda *_: None,
        )
        return path

    return stored


@pytest.fixture(scope="session")
def photo_file(photos: Path, folder: ImageFolder, store: Callable[..., Path]) -> Path:
    """The 23 training photos as plain pixels, each in its own size."""
    return store(folder.split("train", photos))


@pytest.fixture(scope="session")
def mixed_file(photos: Path, folder: ImageFolder, store: Callable[..., Path]) -> Path:
    """The same, half of them as JPEG."""
    return store(folder.split("train", photos), jpeg_share=0.5)


@pytest.fixture(scope="session")
def digits_file(store: Callable[..., Path]) -> Path:
    """The 360 digits of the validation split, 32x32."""
    return store(Digits().split("val", None))


@pytest.fixture
def spoiled(whole: Path, tmp_path: Path) -> Path:
    """A copy, for a test to spoil, of the data folder that its file calls `whole`."""
    return Path(shutil.copytree(whole, tmp_path / "data"))
