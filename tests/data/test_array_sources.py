"""The sets that come as arrays: digits, always at hand, and CIFAR-100."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness.data._arrays import ArrayImages
from harness.data.cifar100 import Cifar100
from harness.data.digits import Digits
from harness.data.source import Images
from harness.errors import UserError

UNPACK = Path(__file__).parents[3] / "shared" / "data" / "unpack.py"


def pixels(images: Images) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.stack([images[i][0] for i in range(len(images))])


def test_digits_are_split_by_class() -> None:
    train, val = Digits().split("train", None), Digits().split("val", None)
    assert (len(train), len(val)) == (1437, 360)
    shares = [Counter(val.labels)[d] / (Counter(val.labels)[d] + Counter(train.labels)[d]) for d in range(10)]
    assert min(shares) > 0.19 and max(shares) < 0.21
    assert {train[0][0].shape, val[0][0].shape} == {(32, 32, 3)} and train[0][0].dtype == np.uint8


def test_no_digit_is_in_both_splits() -> None:
    train, val = Digits().split("train", None), Digits().split("val", None)
    assert not {image.tobytes() for image in pixels(train)} & {image.tobytes() for image in pixels(val)}


def test_digits_figures_are_those_of_the_training_pixels() -> None:
    stored = pixels(Digits().split("train", None)).reshape(-1, 3)
    assert stored.mean(axis=0) == pytest.approx(Digits.mean, abs=0.5e-3)
    assert stored.std(axis=0, dtype=np.float64) == pytest.approx(Digits.std, abs=0.5e-3)


def test_the_seed_moves_the_split() -> None:
    first, again, other = (Digits(seed=seed).split("val", None) for seed in (0, 0, 1))
    digests = [[images[i][1] for i in range(len(images))] for images in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_of_an_image_is_of_its_pixels() -> None:
    flat = np.zeros((3, 4, 6, 3), np.uint8)
    flat[1, 0, 0, 0] = 1
    images = ArrayImages(flat, [0, 1, 2], "abc", listing="flat")
    assert images[0][1] == images[2][1] != images[1][1]
    assert len(images[0][1]) == 64
    assert ArrayImages(flat.reshape(3, 6, 4, 3), [0, 1, 2], "abc", listing="tall")[0][1] != images[0][1]


@pytest.mark.parametrize("source", [Digits(), Cifar100()], ids=lambda source: source.name)
def test_a_set_that_never_changes_is_listed_by_its_name(source: Digits | Cifar100, tmp_path: Path) -> None:
    assert source.listing(tmp_path) == {"train": source.name, "val": source.name}


def test_cifar100_needs_a_folder() -> None:
    with pytest.raises(UserError, match="pass --data DIR"):
        Cifar100().check(None)


def test_cifar100_from_its_archive(tmp_path: Path) -> None:
    if not UNPACK.exists():
        pytest.skip("the CIFAR-100 archive is not at hand")
    subprocess.run([sys.executable, str(UNPACK), "cifar100", str(tmp_path)], check=True, capture_output=True)
    images = Cifar100().split("train", tmp_path / "cifar100")
    assert Counter(images.labels) == dict.fromkeys(range(100), 500)
    assert images.class_names[:2] == ["apple", "aquarium_fish"]
    stored = pixels(images)
    assert stored.mean(axis=(0, 1, 2)) == pytest.approx(Cifar100.mean, abs=0.5e-3)
    assert np.std(stored, axis=(0, 1, 2), dtype=np.float64) == pytest.approx(Cifar100.std, abs=0.5e-3)
