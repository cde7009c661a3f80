"""The sets that come as arrays: digits, always at hand, CIFAR and Fashion-MNIST."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness.data._arrays import ArrayImages
from harness.data.cifar10 import Cifar10
from harness.data.cifar100 import Cifar100
from harness.data.digits import Digits
from harness.data.fashion_mnist import FashionMnist
from harness.data.source import Images, Source
from harness.errors import UserError
from tests.data.official import cifar10, fashion_mnist, offline

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


@pytest.mark.parametrize(
    "source", [Digits(), Cifar10(), Cifar100(), FashionMnist(per_class=5)], ids=lambda source: source.name
)
def test_a_set_that_never_changes_is_listed_by_its_name(source: Source, tmp_path: Path) -> None:
    assert source.listing(tmp_path) == {"train": source.name, "val": source.name}


@pytest.mark.parametrize("source", [Cifar10(), Cifar100(), FashionMnist()], ids=lambda source: source.name)
def test_sets_that_are_downloaded_need_a_folder(source: Source) -> None:
    with pytest.raises(UserError, match=f"{source.name} needs a data folder: pass --data DIR"):
        source.check(None)


def test_cifar10_keeps_rows_columns_and_channels_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar10(tmp_path, monkeypatch)
    images = Cifar10().split("train", tmp_path)
    flat = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    assert images.labels == [*range(10)] * 2
    assert np.array_equal(images[3][0][5, 7], flat[3, :, 5, 7])


def test_damaged_archives_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    cifar10(tmp_path, monkeypatch)
    fashion_mnist(tmp_path, monkeypatch)
    for file in ("cifar-10-batches-py/test_batch", "FashionMNIST/raw/t10k-images-idx3-ubyte.gz"):
        content = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for source, holds in ((Cifar10(), "cifar-10-batches-py/"), (FashionMnist(), "FashionMNIST/raw/")):
        with pytest.raises(UserError, match=f"put {holds}.* there"):
            source.split("val", tmp_path)


def test_fashion_mnist_is_grey_in_three_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fashion_mnist(tmp_path, monkeypatch)
    images = FashionMnist().split("train", tmp_path)
    first = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)[3]
    assert len(images) == 40 and images.class_names[3] == "Dress"
    assert all(np.array_equal(images[3][0][..., channel], first) for channel in range(3))


def test_a_small_fashion_mnist_is_the_first_images_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fashion_mnist(tmp_path, monkeypatch)
    small, whole = FashionMnist(per_class=3), FashionMnist()
    assert (small.name, whole.name) == ("fashion_mnist (3 a class)", "fashion_mnist")
    train = small.split("train", tmp_path)
    assert Counter(train.labels) == dict.fromkeys(range(10), 3)
    assert np.array_equal(pixels(train), pixels(whole.split("train", tmp_path))[:30])
    assert np.array_equal(pixels(small.split("val", tmp_path)), pixels(whole.split("val", tmp_path)))


@pytest.mark.parametrize("per_class", [0, -1, 6001])
def test_more_or_fewer_images_than_a_class_can_have(per_class: int) -> None:
    with pytest.raises(UserError, match=f"per_class of fashion_mnist is {per_class}"):
        FashionMnist(per_class=per_class)


def unpacked(name: str, folder: Path) -> Path:
    """Where the real set lies now; skips where its archive is not at hand."""
    if not UNPACK.exists():
        pytest.skip(f"the archive of {name} is not at hand")
    subprocess.run([sys.executable, str(UNPACK), name, str(folder)], check=True, capture_output=True)
    return folder / name


def test_fashion_mnist_from_its_files(tmp_path: Path) -> None:
    images = FashionMnist().split("train", unpacked("fashion", tmp_path))
    assert Counter(images.labels) == dict.fromkeys(range(10), 6000)
    assert FashionMnist().split("val", tmp_path / "fashion").labels[:3] == [9, 2, 1]
    stored = np.stack([images[i][0][..., 0] for i in range(len(images))])
    assert stored.mean() == pytest.approx(FashionMnist.mean[0], abs=0.5e-3)
    assert np.std(stored, dtype=np.float64) == pytest.approx(FashionMnist.std[0], abs=0.5e-3)


def test_cifar100_from_its_archive(tmp_path: Path) -> None:
    images = Cifar100().split("train", unpacked("cifar100", tmp_path))
    assert Counter(images.labels) == dict.fromkeys(range(100), 500)
    assert images.class_names[:2] == ["apple", "aquarium_fish"]
    stored = pixels(images)
    assert stored.mean(axis=(0, 1, 2)) == pytest.approx(Cifar100.mean, abs=0.5e-3)
    assert np.std(stored, axis=(0, 1, 2), dtype=np.float64) == pytest.approx(Cifar100.std, abs=0.5e-3)
