"""Evaluation sees every image exactly once, at any number of ranks."""

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from harness.data.image_folder import ImageFolder
from harness.data.stream import EvalStream
from harness.errors import StageError
from harness.metrics import correct


def stream(path: Path, **changes: Any) -> EvalStream:
    settings: dict[str, Any] = {
        "size": 32, "resize_ratio": 1.0, "mean": (0, 0, 0), "std": (1, 1, 1), "batch": 5,
        "rank": 0, "world": 1, "workers": 1, "device": "cpu", "channels_last": True,
        "patience_s": 60.0,
    }  # fmt: skip
    return EvalStream(path=path, **{**settings, **changes})


@pytest.mark.parametrize("batch", [1, 5, 64])
@pytest.mark.parametrize("world", [1, 2, 3, 4, 7, 22, 32])
def test_every_image_exactly_once(mixed_file: Path, world: int, batch: int) -> None:
    ranks = [stream(mixed_file, batch=batch, rank=rank, world=world) for rank in range(world)]
    seen = [int(i) for rank in ranks for b in rank for i in b.indices]
    assert sorted(seen) == list(range(23))
    assert {rank.total for rank in ranks} == {23}


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7, 32])
def test_hits_add_up_to_the_same_whole_numbers_at_any_number_of_ranks(mixed_file: Path, world: int) -> None:
    """Somebody who is right about every second image, and always in the first two, is so on any number of ranks."""
    counts = torch.zeros(3, dtype=torch.int64)
    for rank in range(world):
        for batch in stream(mixed_file, rank=rank, world=world):
            guess = (batch.labels + batch.indices % 2) % 3
            logits = torch.nn.functional.one_hot(guess, 3) * 2 + torch.nn.functional.one_hot(batch.labels, 3)
            counts += torch.cat([correct(logits, batch.labels, (1, 2)), torch.tensor([len(batch.labels)])])
    assert counts.tolist() == [12, 23, 23]


@pytest.mark.parametrize("world", [2, 3, 4, 7, 32])
def test_same_bytes_at_any_number_of_ranks(mixed_file: Path, world: int) -> None:
    whole = torch.cat([batch.images for batch in stream(mixed_file)])
    for rank in range(world):
        for batch in stream(mixed_file, rank=rank, world=world):
            assert torch.equal(batch.images, whole[batch.indices])


def test_a_read_that_never_ends_is_an_error_that_names_the_file(
    mixed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation, release = stream(mixed_file, patience_s=0.2), threading.Event()
    monkeypatch.setattr("harness.data._ffcv.Reader.decode", lambda *_: release.wait(30))
    try:
        with pytest.raises(StageError, match=f"no data for 0.2 s while reading {mixed_file}"):
            next(iter(evaluation))
    finally:
        release.set()


def test_the_last_batch_is_smaller_and_a_rank_may_have_nothing(mixed_file: Path) -> None:
    assert [len(batch.labels) for batch in stream(mixed_file)] == [5, 5, 5, 5, 3]
    assert [len(batch.labels) for batch in stream(mixed_file, rank=22, world=32)] == [1]
    assert list(stream(mixed_file, rank=23, world=32)) == []


def test_it_can_be_walked_twice_and_shows_the_same(mixed_file: Path) -> None:
    evaluation = stream(mixed_file)
    for one, other in zip(evaluation, evaluation, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def test_same_bytes_in_any_batch_and_any_number_of_workers(mixed_file: Path) -> None:
    whole = torch.cat([batch.images for batch in stream(mixed_file, batch=64)])
    for workers, size in ((1, 1), (2, 4), (3, 7)):
        assert torch.equal(whole, torch.cat([b.images for b in stream(mixed_file, batch=size, workers=workers)]))


@pytest.mark.parametrize("resize_ratio", [1.0, 0.875])
def test_centre_squares_against_opencv(
    photos: Path, folder: ImageFolder, photo_file: Path, resize_ratio: float
) -> None:
    images = folder.split("train", photos)
    (batch,) = stream(photo_file, batch=64, resize_ratio=resize_ratio)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.tolist() == images.labels
    for image, (original, _) in zip(batch.images, (images[i] for i in range(len(images))), strict=True):
        height, width = original.shape[:2]
        side = round(resize_ratio * min(height, width))
        top, left = (height - side) // 2, (width - side) // 2
        expected = cv2.resize(original[top : top + side, left : left + side], (32, 32), interpolation=cv2.INTER_AREA)
        assert np.abs(image.permute(1, 2, 0).numpy() - expected).max() <= 1
