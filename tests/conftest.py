"""What tests of every folder share: a tiny pipeline, and photographs to fill a data folder with."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.context import Context
from harness.data.digits import Digits
from harness.data.prepared import Prepared
from harness.engine.group import join
from harness.journal import Journal
from harness.run import run_stages
from harness.stages.prepare import Prepare
from harness.store import Store
from harness.topology import Topology


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="every fault on the test cluster: many minutes")


@pytest.fixture
def photo_tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes DIR/{train,val}/<class>/*.jpg of seeded smooth noise: real JPEG files of various sizes."""

    def make(classes: int = 3, train: int = 4, val: int = 2) -> Path:
        return write_photo_tree(tmp_path / "photos", classes=classes, train=train, val=val)

    return make


@pytest.fixture(scope="session")
def prepared_digits(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The digits as the stage `prepare` leaves them."""
    store, stage = Store(tmp_path_factory.mktemp("digits")), Prepare(source=Digits())
    run_stages([stage], store, Topology(), data=None, workers=1, listener=lambda *_: None)
    return Prepared(store.artefact(stage))


@pytest.fixture(scope="session")
def prepared_with_minival(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The digits with a fifth of the training images set aside."""
    store, stage = Store(tmp_path_factory.mktemp("minival")), Prepare(source=Digits(), minival=0.2)
    run_stages([stage], store, Topology(), data=None, workers=1, listener=lambda *_: None)
    return Prepared(store.artefact(stage))


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """One rank on a CPU, in a process group of its own; nobody reads its journal."""
    with join(Topology(), "cpu", patience_s=60):
        yield Context(
            topology=Topology(),
            device="cpu",
            folder=tmp_path,
            unfinished=tmp_path / "unfinished",
            journal=Journal(None),
        )


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
