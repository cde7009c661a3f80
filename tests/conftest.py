"""What tests of every folder share: a tiny pipeline, and photographs to fill a data folder with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo_tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes DIR/{train,val}/<class>/*.jpg of seeded smooth noise: real JPEG files of various sizes."""

    def make(classes: int = 3, train: int = 4, val: int = 2) -> Path:
        return write_photo_tree(tmp_path / "photos", classes=classes, train=train, val=val)

    return make


def write_photo_tree(root: Path, *, classes: int, train: int, val: int) -> Path:
    """See `photo_tree`."""
    rng = np.random.default_rng(0)
    for split, count in {"train": train, "val": val}.items():
        for label in range(classes):
            folder = root / split / f"class{label:03}"
            folder.mkdir(parents=True)
            for number in range(count):
                coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
                side = int(rng.integers(80, 160))
                coarse.resize((side + 20, side), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=85)
    return root
