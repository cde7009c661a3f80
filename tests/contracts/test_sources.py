"""Every set of images, found by its file, goes through the same tests: on a small copy, or where there is none."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import plugins
from harness.data.source import Source, Split
from harness.errors import UserError
from harness.spec import encode, model_from_json
from tests.data.official import MAKERS, offline

SPLITS: tuple[Split, ...] = ("train", "val")
ARGUMENTS: dict[str, dict[str, Any]] = {"image_folder": {"name": "photos"}, "fashion_mnist": {"per_class": 2}}
NAMES = [
    name
    for name in plugins.names("data")
    if name != "source" and "def listing(" in (plugins.PACKAGE / "data" / f"{name}.py").read_text()
]
"""The files of the sources: the others of the folder list nothing."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source(name: str) -> Source:
    made: Source = plugins.class_of(f"data.{name}")(**ARGUMENTS.get(name, {}))
    return made


@pytest.fixture
def root(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that holds the set."""
    MAKERS[name](tmp_path, monkeypatch)
    return tmp_path


def test_there_are_sources() -> None:
    assert {"cifar100", "image_folder"} < set(NAMES)


def test_no_source_file_imports_what_a_machine_without_the_stack_lacks() -> None:
    code = (
        f"import {', '.join(f'harness.data.{name}' for name in NAMES)}, sys;"
        "print([name for name in ('torch', 'torchvision', 'numpy', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_survives_json(source: Source) -> None:
    assert model_from_json(json.loads(json.dumps(encode(source)))) == source


def test_its_figures_can_be(source: Source) -> None:
    assert len(source.mean) == len(source.std) == 3
    assert all(0 < mean < 255 for mean in source.mean) and all(0 < std <= 127.5 for std in source.std)
    assert 0 <= source.jpeg_share <= 1 and 1 <= source.quality <= 100


def test_both_splits_are_read(source: Source, root: Path) -> None:
    source.check(root)
    train, val = (source.split(split, root) for split in SPLITS)
    assert list(train.class_names) == list(val.class_names)
    assert source.classes in (None, len(train.class_names))
    for images in (train, val):
        assert len(images) == len(images.labels)
        assert set(images.labels) == set(range(len(train.class_names)))
        assert all(type(label) is int for label in images.labels)  # they are written as JSON
    assert not {train[i][1] for i in range(4)} & {val[i][1] for i in range(len(val))}


def test_an_image_is_rgb_with_a_digest_and_always_the_same(source: Source, root: Path) -> None:
    for split in SPLITS:
        images, again = source.split(split, root), source.split(split, root)
        for index in (0, len(images) - 1):
            pixels, digest = images[index]
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
            assert len(digest) == 64 and int(digest, 16) >= 0
            assert np.array_equal(again[index][0], pixels) and again[index][1] == digest


def test_what_is_listed_is_what_is_read(source: Source, root: Path) -> None:
    listing = source.listing(root)
    assert dict(listing) == {split: source.split(split, root).listing for split in SPLITS}
    assert source.listing(root) == listing


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])  # these come with a package
@pytest.mark.parametrize("empty", [None, "empty"])
def test_where_there_are_no_images_one_line_says_what_to_do(
    source: Source, empty: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    with pytest.raises(UserError, match=r"--data DIR|put .* there") as caught:
        source.split("train", tmp_path if empty else None)
    assert "\n" not in str(caught.value)
    assert empty is None or str(tmp_path) in str(caught.value)
