"""A prepared folder opens the streams that a recipe and a context ask for."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.context import Context
from harness.data.prepared import Prepared
from harness.errors import StageError, UserError
from harness.journal import Journal
from harness.recipe import Recipe
from harness.topology import Topology
from tests.data.streams import PAD, same, train_stream

RECIPE = Recipe(epochs=1, augment=PAD, global_batch=48, batch_per_gpu=12, channels_last=False)


@pytest.fixture
def prepared(digits_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """The 360 digits as both splits, not normalised."""
    for split in ("train", "val"):
        (tmp_path / f"{split}.beton").symlink_to(digits_file)
    monkeypatch.setattr(Prepared, "facts", SimpleNamespace(mean=(0, 0, 0), std=(1, 1, 1)))
    return Prepared(tmp_path)


def place(folder: Path, rank: int = 0, world: int = 1) -> Context:
    topology = Topology(rank=rank, world=world)
    return Context(topology=topology, device="cpu", folder=folder, journal=Journal(None), unfinished=folder / "none")


@pytest.mark.parametrize("rank", [0, 1])
def test_the_stream_of_a_recipe(prepared: Prepared, digits_file: Path, tmp_path: Path, rank: int) -> None:
    context = place(tmp_path, rank, 2)
    expected = train_stream(
        digits_file, PAD, seed=5, global_batch=48, batch_per_gpu=12, rank=rank, world=2, mates="class"
    )
    found = prepared.train_stream(RECIPE, 5, context, mates="class")
    assert same(list(found.epoch(1)), list(expected.epoch(1)))


@pytest.mark.parametrize("world", [3, 8])
def test_a_recipe_that_does_not_divide_over_the_ranks(prepared: Prepared, tmp_path: Path, world: int) -> None:
    with pytest.raises(UserError, match=f"a global batch of 48 cannot be split over {world} ranks x 12 images"):
        prepared.train_stream(RECIPE, 5, place(tmp_path, world=world))


def test_every_rank_evaluates_its_share(prepared: Prepared, tmp_path: Path) -> None:
    streams = [prepared.eval_stream("val", 32, 1.0, 100, place(tmp_path, rank, 7)) for rank in range(7)]
    seen = [int(index) for stream in streams for batch in stream for index in batch.indices]
    assert sorted(seen) == list(range(360))


def test_streams_are_as_patient_as_the_context(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, release = replace(place(tmp_path), patience_s=0.2), threading.Event()
    streams = [
        prepared.train_stream(RECIPE, 5, context).epoch(0),
        iter(prepared.eval_stream("val", 32, 1.0, 100, context)),
    ]
    monkeypatch.setattr("harness.data._ffcv.Reader.decode", lambda *_: release.wait(30))
    try:
        for batches in streams:
            with pytest.raises(StageError, match=r"no data for 0\.2 s"):
                next(batches)
    finally:
        release.set()
