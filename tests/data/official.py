"""Small copies of the sets, laid out as their publishers lay them out: what a user's data folder holds."""

import gzip
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from harness.data.source import Source
from harness.errors import UserError

TINY_IDS = [f"n{number:08}" for number in range(200)]
BIRDS = [f"{number:03}.Bird_{number}" for number in range(1, 201)]


def cifar(root: Path, patch: pytest.MonkeyPatch, name: str, batches: list[str], key: str, classes: int) -> None:
    """One image of each class in every batch; the last batch is the test set. torchvision's checksums become theirs."""
    published = getattr(datasets, name)
    folder = root / published.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    sums = []
    for batch in batches:
        pixels = rng.integers(0, 256, (classes, 3 * 32 * 32), dtype=np.uint8)
        sums.append([batch, _pickled(folder / batch, {"data": pixels, key: list(range(classes))})])
    meta = published.meta["filename"]
    names = {published.meta["key"]: [f"class{label}" for label in range(classes)]}
    patch.setattr(published, "train_list", sums[:-1])
    patch.setattr(published, "test_list", sums[-1:])
    patch.setattr(published, "meta", published.meta | {"md5": _pickled(folder / meta, names)})


def cifar10(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Two training batches."""
    cifar(root, patch, "CIFAR10", ["data_batch_1", "data_batch_2", "test_batch"], "labels", 10)


def cifar100(root: Path, patch: pytest.MonkeyPatch) -> None:
    """One training batch."""
    cifar(root, patch, "CIFAR100", ["train", "test"], "fine_labels", 100)


def fashion_mnist(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Four training and four test images of each class, packed; torchvision's checksums become theirs."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    sums = []
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 40)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = np.array([2048 + array.ndim, *array.shape], ">i4").tobytes()
            file = folder / f"{part}-{kind}-ubyte.gz"
            file.write_bytes(gzip.compress(head + array.tobytes()))
            sums.append((file.name, hashlib.md5(file.read_bytes()).hexdigest()))
    patch.setattr(datasets.FashionMNIST, "resources", sums)


def tiny_imagenet(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Two training images of each class, one of them grey, and one of validation; its numbers run backwards."""
    home = root / "tiny-imagenet-200"
    lines = []
    for number, name in enumerate(TINY_IDS):
        _picture(home / "train" / name / "images" / f"{name}_0.JPEG", 64, number)
        _picture(home / "train" / name / "images" / f"{name}_1.JPEG", 64, 200 + number, "L")
        (home / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t63\t63\n")
        image = f"val_{199 - number}.JPEG"
        _picture(home / "val" / "images" / image, 64, 400 + number)
        lines.append(f"{image}\t{name}\t0\t0\t63\t63\n")
    (home / "val" / "val_annotations.txt").write_text("".join(lines))


def cub200(root: Path, patch: pytest.MonkeyPatch) -> None:
    """One training and one test photo of each class, in turn the first; the first of all is grey."""
    home = root / "CUB_200_2011"
    images, labels, split, boxes = [], [], [], []
    for label, name in enumerate(BIRDS):
        for place in range(2):
            number = 2 * label + place + 1
            _picture(home / "images" / name / f"Bird_{number:04}.jpg", 24, number, "L" if number == 1 else "RGB")
            images.append(f"{number} {name}/Bird_{number:04}.jpg\n")
            labels.append(f"{number} {label + 1}\n")
            split.append(f"{number} {(label + place + 1) % 2}\n")
            boxes.append(f"{number} 1.0 2.0 20.0 10.0\n")
    (home / "images.txt").write_text("".join(images))
    (home / "image_class_labels.txt").write_text("".join(labels))
    (home / "train_test_split.txt").write_text("".join(split))
    (home / "bounding_boxes.txt").write_text("".join(boxes))
    (home / "classes.txt").write_text("".join(f"{label + 1} {name}\n" for label, name in enumerate(BIRDS)))


def image_folder(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Two training images of each of two classes, and one of validation."""
    for split, count in (("train", 2), ("val", 1)):
        for label, name in enumerate(("ant", "bee")):
            for number in range(count):
                _picture(root / split / name / f"{number}.jpg", 40 + label, number + 10 * count)


def digits(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Nothing: they come with a package."""


MAKERS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "cub200": cub200,
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "image_folder": image_folder,
    "tiny_imagenet": tiny_imagenet,
}
"""One for each file of a source; a new source adds a row."""


def complaint(source: Source, root: Path | None) -> str:
    """What a source says, in one line, of a folder that does not hold it."""
    with pytest.raises(UserError) as caught:
        source.check(root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def offline(patch: pytest.MonkeyPatch) -> None:
    """torchvision can download nothing from now on."""

    def fail(*_: Any) -> None:
        raise OSError("no route to host")

    patch.setattr("torchvision.datasets.utils._urlretrieve", fail)


def _pickled(path: Path, value: Any) -> str:
    """Write CIFAR's own format; returns the MD5."""
    content = pickle.dumps(value)
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def _picture(path: Path, side: int, seed: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((side, side)).convert(mode).save(path, format="JPEG")
