"""The training stream is a pure function of (seed, epoch, position)."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from harness.batch import Batch
from harness.data._boxes import training_boxes
from harness.data._draws import FLIP, LEFT, TOP, order, uniform
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.data.image_folder import ImageFolder
from harness.data.stream import TrainStream
from harness.errors import StageError, UserError

PAD = Augment(crop="pad", size=32)
RESIZED = Augment(crop="resized", size=40)
AUGMENTS = [Augment(crop="none", size=24, flip=False), Augment(crop="pad", size=56, pad=12), RESIZED]


def stream(path: Path, augment: Augment = PAD, **changes: Any) -> TrainStream:
    """A stream whose images are the pixels themselves, 0 .. 255."""
    settings: dict[str, Any] = {
        "mean": (0, 0, 0), "std": (1, 1, 1), "seed": 1, "global_batch": 8, "batch_per_gpu": 2,
        "rank": 0, "world": 1, "workers": 1, "device": "cpu", "channels_last": False,
    }  # fmt: skip
    return TrainStream(path=path, augment=augment, **{**settings, **changes})


def joined(batches: list[Batch]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images, labels, indices = zip(*((b.images, b.labels, b.indices) for b in batches), strict=True)
    return torch.cat(images), torch.cat(labels), torch.cat(indices)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(joined(one), joined(other), strict=True))


@pytest.mark.parametrize("augment", AUGMENTS, ids=lambda a: a.crop)
def test_same_bytes_at_any_number_of_workers(mixed_file: Path, augment: Augment) -> None:
    alone = list(stream(mixed_file, augment).epoch(3))
    assert len(alone) == 8
    for workers in (2, 3):
        assert same(alone, list(stream(mixed_file, augment, workers=workers).epoch(3)))


@pytest.mark.parametrize("augment", AUGMENTS, ids=lambda a: a.crop)
@pytest.mark.parametrize("world", [2, 4])
def test_same_pixels_at_any_number_of_ranks(mixed_file: Path, augment: Augment, world: int) -> None:
    """Batch a of rank r is chunk a * world + r of its step, so that taking turns restores the order of one rank."""
    ranks = [list(stream(mixed_file, augment, rank=rank, world=world).epoch(3)) for rank in range(world)]
    in_turns = [batch for turn in zip(*ranks, strict=True) for batch in turn]
    assert same(list(stream(mixed_file, augment).epoch(3)), in_turns)


def test_an_epoch_walks_through_the_order_and_leaves_out_the_rest(mixed_file: Path) -> None:
    batches = list(stream(mixed_file, RESIZED).epoch(5))
    assert joined(batches)[2].tolist() == order(1, 5, 23)[:16].tolist()
    assert {len(batch.labels) for batch in batches} == {2}


def test_epochs_and_seeds_differ_and_come_back(digits_file: Path) -> None:
    first, again = (list(stream(digits_file, global_batch=64).epoch(0)) for _ in range(2))
    assert same(first, again)
    for other in (stream(digits_file, global_batch=64).epoch(1), stream(digits_file, global_batch=64, seed=2).epoch(0)):
        assert joined(first)[2].tolist() != joined(list(other))[2].tolist()


def test_a_sample_is_cropped_anew_in_each_epoch(digits_file: Path) -> None:
    a, b = (joined(list(stream(digits_file, global_batch=360, batch_per_gpu=360).epoch(e))) for e in (0, 1))
    changed = [not torch.equal(x, y) for x, y in zip(a[0][a[2].argsort()], b[0][b[2].argsort()], strict=True)]
    assert sum(changed) > 0.95 * 360


def test_resuming_in_mid_epoch_gives_the_rest_of_it(mixed_file: Path) -> None:
    whole, rest = list(stream(mixed_file).epoch(2)), list(stream(mixed_file).epoch(2, first_step=1))
    assert same(whole[4:], rest)


def test_padded_crops_and_flips_against_numpy(digits_file: Path) -> None:
    images = Digits().split("val", None)
    seen = joined(list(stream(digits_file, global_batch=360, batch_per_gpu=60, seed=9).epoch(4)))
    for image, label, number in zip(*seen, strict=True):
        original, original_label = images[int(number)]
        top, left = (int(uniform(9, 4, purpose, int(number))[0] * 9) for purpose in (TOP, LEFT))
        expected = np.pad(original, ((4, 4), (4, 4), (0, 0)))[top : top + 32, left : left + 32]
        if uniform(9, 4, FLIP, int(number))[0] < 0.5:
            expected = expected[:, ::-1]
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
        assert label == original_label


def test_resized_crops_against_opencv(photos: Path, folder: ImageFolder, photo_file: Path) -> None:
    images = folder.split("train", photos)
    seen = joined(list(stream(photo_file, RESIZED, global_batch=23, batch_per_gpu=23).epoch(0)))
    for image, number in zip(seen[0], seen[2].tolist(), strict=True):
        original = images[number][0]
        sizes = (np.array([side]) for side in original.shape[:2])
        ((top, left, height, width, mirrored),) = training_boxes(RESIZED, 1, 0, np.array([number]), *sizes)
        box = original[top : top + height, left : left + width]
        expected = cv2.resize(box, (40, 40), interpolation=cv2.INTER_AREA)
        if mirrored:
            expected = expected[:, ::-1]
        assert np.abs(image.permute(1, 2, 0).numpy() - expected).max() <= 1


def test_images_are_normalised_and_laid_out_as_asked(digits_file: Path) -> None:
    plain = next(stream(digits_file).epoch(0)).images
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
    for channels_last in (False, True):
        batch = next(stream(digits_file, mean=mean, std=std, channels_last=channels_last).epoch(0))
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
        Batch(batch.images.cpu(), batch.labels.cpu(), batch.indices)
        for batch in stream(mixed_file, RESIZED, device="cuda:0", channels_last=True, workers=2).epoch(0)
    ]
    assert same(on_gpu, list(stream(mixed_file, RESIZED).epoch(0)))


def test_batches_are_safe_to_keep(digits_file: Path) -> None:
    kept, copies = [], []
    for batch in stream(digits_file).epoch(0):
        kept.append(batch)
        copies.append(replace(batch, images=batch.images.clone(), labels=batch.labels.clone()))
    assert len(kept) == 180 and same(kept, copies)


def test_leaving_an_epoch_early_leaves_no_thread_behind(digits_file: Path) -> None:
    next(stream(digits_file, workers=2).epoch(0))
    before = threading.active_count()
    for number in range(20):
        for _ in stream(digits_file, workers=2).epoch(number):
            break
    assert threading.active_count() == before


def test_torch_keeps_its_threads(digits_file: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.beton"
    fresh.write_bytes(digits_file.read_bytes())
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        batches = stream(fresh, workers=2).epoch(0)
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
            list(stream(copy, RESIZED).epoch(number))


@pytest.mark.parametrize("kept", [10, 1000, 10_000, -100])
def test_a_file_without_its_tail_is_refused(mixed_file: Path, tmp_path: Path, kept: int) -> None:
    copy = tmp_path / "copy.beton"
    copy.write_bytes(mixed_file.read_bytes()[:kept])
    with pytest.raises(UserError, match=f"{copy} is not a complete FFCV file: delete it and run again"):
        stream(copy)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train.beton is missing: run the stage that prepares it again"):
        stream(tmp_path / "train.beton")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"global_batch": 512}, "holds 360 images, fewer than a global batch of 512"),
        ({"world": 3}, "a global batch of 8 is no multiple of 3 ranks x 2"),
        ({"world": 8}, "a global batch of 8 is no multiple of 8 ranks x 2"),
        ({"augment": Augment(crop="pad", size=64)}, "holds an image of side 32, too small for a padded crop of 64"),
    ],
)
def test_impossible_streams(digits_file: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        stream(digits_file, **changes)
