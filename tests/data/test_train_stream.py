"""The training stream is a pure function of (seed, epoch, position)."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from harness.data._boxes import training_boxes
from harness.data._draws import FLIP, LEFT, TOP, order, uniform
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.data.image_folder import ImageFolder
from harness.errors import StageError, UserError
from tests.data.streams import AUGMENTS, RESIZED, joined, noise, same, train_stream


@pytest.mark.parametrize("augment", AUGMENTS, ids=lambda a: a.crop)
def test_same_bytes_at_any_number_of_workers(mixed_file: Path, augment: Augment) -> None:
    alone = list(train_stream(mixed_file, augment).epoch(3))
    assert len(alone) == 8
    for workers in (2, 3):
        assert same(alone, list(train_stream(mixed_file, augment, workers=workers).epoch(3)))


@pytest.mark.parametrize("augment", AUGMENTS, ids=lambda a: a.crop)
@pytest.mark.parametrize("world", [2, 4])
def test_same_pixels_at_any_number_of_ranks(mixed_file: Path, augment: Augment, world: int) -> None:
    """Batch a of rank r is chunk a * world + r of its step, so that taking turns restores the order of one rank."""
    ranks = [list(train_stream(mixed_file, augment, rank=rank, world=world).epoch(3)) for rank in range(world)]
    in_turns = [batch for turn in zip(*ranks, strict=True) for batch in turn]
    assert same(list(train_stream(mixed_file, augment).epoch(3)), in_turns)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_batch_says_where_it_stands_in_the_epoch(mixed_file: Path, world: int) -> None:
    """So that what was stored for each position of an epoch finds the images it was stored for."""
    samples = order(1, 3, 23).tolist()
    seen = []
    for rank in range(world):
        whole = train_stream(mixed_file, RESIZED, rank=rank, world=world).epoch(3)
        rest = train_stream(mixed_file, RESIZED, rank=rank, world=world).epoch(3, first_step=1)
        for batch in [*whole, *rest]:
            assert (batch.epoch, batch.mates) == (3, None)
            assert batch.indices.tolist() == samples[batch.position : batch.position + 2]
            seen.append(batch.position)
    assert sorted(seen) == sorted([*range(0, 16, 2), *range(8, 16, 2)])


def test_an_epoch_walks_through_the_order_and_leaves_out_the_rest(mixed_file: Path) -> None:
    batches = list(train_stream(mixed_file, RESIZED).epoch(5))
    assert joined(batches)[2].tolist() == order(1, 5, 23)[:16].tolist()
    assert {len(batch.labels) for batch in batches} == {2}


def test_epochs_and_seeds_differ_and_come_back(digits_file: Path) -> None:
    first, again = (list(train_stream(digits_file, global_batch=64).epoch(0)) for _ in range(2))
    assert same(first, again)
    for seed, epoch in ((1, 1), (2, 0)):
        other = list(train_stream(digits_file, global_batch=64, seed=seed).epoch(epoch))
        assert joined(first)[2].tolist() != joined(other)[2].tolist()


def test_a_sample_is_cropped_anew_in_each_epoch(digits_file: Path) -> None:
    a, b = (joined(list(train_stream(digits_file, global_batch=360, batch_per_gpu=360).epoch(e))) for e in (0, 1))
    changed = [not torch.equal(x, y) for x, y in zip(a[0][a[2].argsort()], b[0][b[2].argsort()], strict=True)]
    assert sum(changed) > 0.95 * 360


def test_resuming_in_mid_epoch_gives_the_rest_of_it(mixed_file: Path) -> None:
    whole, rest = list(train_stream(mixed_file).epoch(2)), list(train_stream(mixed_file).epoch(2, first_step=1))
    assert same(whole[4:], rest)


def test_padded_crops_and_flips_against_numpy(digits_file: Path) -> None:
    images = Digits().split("val", None)
    seen = joined(list(train_stream(digits_file, global_batch=360, batch_per_gpu=60, seed=9).epoch(4)))
    for image, label, number in zip(*seen, strict=True):
        original = images[int(number)][0]
        top, left = (int(uniform(9, 4, purpose, int(number))[0] * 9) for purpose in (TOP, LEFT))
        expected = np.pad(original, ((4, 4), (4, 4), (0, 0)))[top : top + 32, left : left + 32]
        if uniform(9, 4, FLIP, int(number))[0] < 0.5:
            expected = expected[:, ::-1]
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
        assert label == images.labels[int(number)]


def test_resized_crops_against_opencv(photos: Path, folder: ImageFolder, photo_file: Path) -> None:
    images = folder.split("train", photos)
    seen = joined(list(train_stream(photo_file, RESIZED, global_batch=23, batch_per_gpu=23).epoch(0)))
    for image, number in zip(seen[0], seen[2].tolist(), strict=True):
        original = images[number][0]
        facts = (np.array([fact]) for fact in (number, *original.shape[:2]))
        ((top, left, height, width, mirrored),) = training_boxes(RESIZED, partial(uniform, 1, 0), *facts)
        box = original[top : top + height, left : left + width]
        expected = cv2.resize(box, (40, 40), interpolation=cv2.INTER_AREA)
        if mirrored:
            expected = expected[:, ::-1]
        assert np.abs(image.permute(1, 2, 0).numpy() - expected).max() <= 1


def test_pinned_pixels(store: Callable[..., Path]) -> None:
    """Padded crops of images stored as they are: nothing but copies, the same on any machine."""
    path = store(noise([i % 3 for i in range(20)]))
    digest = hashlib.sha256()
    for seed, epoch in ((0, 0), (0, 1), (7, 3)):
        images, labels, _ = joined(list(train_stream(path, Augment(crop="pad", size=24), seed=seed).epoch(epoch)))
        digest.update(images.to(torch.uint8).numpy().tobytes() + labels.to(torch.uint8).numpy().tobytes())
    assert digest.hexdigest() == "9980877b56455241f0c7f00e45ffd92ba4ddfe62d5e6efe5c4fa522732ea1212"


def test_images_grow_with_the_epochs(mixed_file: Path) -> None:
    growing = train_stream(mixed_file, replace(RESIZED, sizes=((1, 24), (3, 48))), mates="class")
    for epoch, side in enumerate((40, 24, 24, 48, 48)):
        batches = list(growing.epoch(epoch))
        assert {batch.images.shape for batch in batches} == {(2, 3, side, side)}
        assert same(batches, list(train_stream(mixed_file, replace(RESIZED, size=side), mates="class").epoch(epoch)))


def test_images_are_normalised_and_laid_out_as_asked(digits_file: Path) -> None:
    plain = next(train_stream(digits_file).epoch(0)).images
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
    for channels_last in (False, True):
        batch = next(train_stream(digits_file, mean=mean, std=std, channels_last=channels_last).epoch(0))
        assert (batch.images.dtype, batch.labels.dtype, batch.indices.dtype) == (
            torch.float32, torch.int64, torch.int64,
        )  # fmt: skip
        expected = (plain - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        assert torch.equal(batch.images, expected)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        assert batch.images.is_contiguous(memory_format=layout)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_pixels_of_a_cpu(mixed_file: Path) -> None:
    on_gpu = [
        replace(batch, images=batch.images.cpu(), labels=batch.labels.cpu())
        for batch in train_stream(mixed_file, RESIZED, device="cuda:0", channels_last=True, workers=2).epoch(0)
    ]
    assert same(on_gpu, list(train_stream(mixed_file, RESIZED).epoch(0)))


def test_batches_are_safe_to_keep(digits_file: Path) -> None:
    kept, copies = [], []
    for batch in train_stream(digits_file).epoch(0):
        kept.append(batch)
        copies.append(replace(batch, images=batch.images.clone(), labels=batch.labels.clone()))
    assert len(kept) == 180 and same(kept, copies)


def test_leaving_an_epoch_early_leaves_no_thread_behind(digits_file: Path) -> None:
    next(train_stream(digits_file, workers=2).epoch(0))
    before = threading.active_count()
    for number in range(20):
        for _ in train_stream(digits_file, workers=2).epoch(number):
            break
    assert threading.active_count() == before


def test_torch_keeps_its_threads(digits_file: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.beton"
    fresh.write_bytes(digits_file.read_bytes())
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        batches = train_stream(fresh, workers=2).epoch(0)
        assert torch.get_num_threads() == 3
        assert len(list(batches)) == 180
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_damaged_jpeg_stops_training_instead_of_hanging_it(mixed_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.beton"
    content = mixed_file.read_bytes()
    start = content.rindex(b"\xff\xd8\xff\xe0")
    copy.write_bytes(content[:start] + bytes(64) + content[start + 64 :])
    with pytest.raises(StageError, match=f"{copy} is damaged: an image in it is not a JPEG image"):
        for number in range(10):
            list(train_stream(copy, RESIZED).epoch(number))


def test_a_read_that_never_ends_is_an_error_that_names_the_file(
    digits_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, release = train_stream(digits_file, patience_s=0.2), threading.Event()
    monkeypatch.setattr("harness.data._ffcv.Reader.decode", lambda *_: release.wait(30))
    complaint = f"no data for 0.2 s while reading {digits_file}: .* raise --patience"
    try:
        with pytest.raises(StageError, match=complaint):
            next(stream.epoch(0))
    finally:
        release.set()


@pytest.mark.parametrize("kept", [10, 1000, 10_000, -100])
def test_a_file_without_its_tail_is_refused(mixed_file: Path, tmp_path: Path, kept: int) -> None:
    copy = tmp_path / "copy.beton"
    copy.write_bytes(mixed_file.read_bytes()[:kept])
    with pytest.raises(UserError, match=f"{copy} is not a complete FFCV file: delete it and run again"):
        train_stream(copy)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train.beton is missing: run the stage that prepares it again"):
        train_stream(tmp_path / "train.beton")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"global_batch": 512}, "holds 360 images, fewer than a global batch of 512"),
        ({"augment": Augment(crop="pad", size=64)}, "holds an image of side 32, too small for a padded crop of 64"),
    ],
)
def test_impossible_streams(digits_file: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        train_stream(digits_file, **changes)
