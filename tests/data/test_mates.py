"""A second image for each one: another view of the same sample, or another sample of its class."""

import hashlib
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
from harness.data._draws import CLASSMATE, FLIP, LEFT, MATE, TOP, uniform
from harness.data._mates import Classmates
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.data.image_folder import ImageFolder
from tests.data.streams import AUGMENTS, RESIZED, joined, mates, noise, same, train_stream

KINDS = ["class", "previous"]
ALL: dict[str, Any] = {"global_batch": 360, "batch_per_gpu": 60}


@pytest.fixture(scope="module")
def noise_file(store: Callable[..., Path]) -> Path:
    """20 images of noise in classes of 12, 7 and a single one."""
    return store(noise([2] * 12 + [0] * 7 + [1]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("augment", AUGMENTS, ids=lambda a: a.crop)
def test_first_images_do_not_depend_on_having_mates(mixed_file: Path, augment: Augment, kind: str) -> None:
    alone = list(train_stream(mixed_file, augment).epoch(3))
    paired = list(train_stream(mixed_file, augment, mates=kind).epoch(3))
    assert mates(alone) == [] and len(mates(paired)) == len(paired)
    for one, two in zip(alone, paired, strict=True):
        assert torch.equal(one.images, two.images) and torch.equal(one.indices, two.indices)
        assert two.mates is not None
        assert (two.mates.epoch, two.mates.position, two.mates.mates) == (3, two.position, None)
        assert two.mates.images.shape == two.images.shape


@pytest.mark.parametrize("kind", KINDS)
def test_same_pairs_at_any_number_of_workers_and_ranks_and_after_a_restart(mixed_file: Path, kind: str) -> None:
    whole = list(train_stream(mixed_file, RESIZED, mates=kind).epoch(2))
    for workers in (2, 3):
        assert same(whole, list(train_stream(mixed_file, RESIZED, mates=kind, workers=workers).epoch(2)))
    for world in (2, 4):
        ranks = [train_stream(mixed_file, RESIZED, mates=kind, rank=r, world=world).epoch(2) for r in range(world)]
        assert same(whole, [batch for turn in zip(*ranks, strict=True) for batch in turn])
    assert same(whole[4:], list(train_stream(mixed_file, RESIZED, mates=kind).epoch(2, first_step=1)))


def test_mates_have_a_crop_and_flip_of_their_own(digits_file: Path) -> None:
    """Drawn for the first image of the pair, whichever sample the mate is: against numpy."""
    digits = Digits().split("val", None)
    pairs = list(train_stream(digits_file, mates="class", seed=9, **ALL).epoch(4))
    firsts = joined(pairs)[2].tolist()
    for first, image, label, number in zip(firsts, *joined(mates(pairs)), strict=True):
        original = digits[int(number)][0]
        top, left = (int(uniform(9, 4, MATE, purpose, first)[0] * 9) for purpose in (TOP, LEFT))
        expected = np.pad(original, ((4, 4), (4, 4), (0, 0)))[top : top + 32, left : left + 32]
        if uniform(9, 4, MATE, FLIP, first)[0] < 0.5:
            expected = expected[:, ::-1]
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
        assert label == digits.labels[int(number)]


def test_a_mate_is_cropped_within_its_own_borders(photos: Path, folder: ImageFolder, photo_file: Path) -> None:
    """No two photos are of one size: against opencv."""
    images = folder.split("train", photos)
    (pair,) = train_stream(photo_file, RESIZED, mates="class", global_batch=23, batch_per_gpu=23).epoch(0)
    assert pair.mates is not None
    for first, image, number in zip(pair.indices, pair.mates.images, pair.mates.indices.tolist(), strict=True):
        original = images[number][0]
        facts = (np.array([fact]) for fact in (int(first), *original.shape[:2]))
        ((top, left, height, width, mirrored),) = training_boxes(RESIZED, partial(uniform, 1, 0, MATE), *facts)
        box = original[top : top + height, left : left + width]
        expected = cv2.resize(box, (40, 40), interpolation=cv2.INTER_AREA)
        if mirrored:
            expected = expected[:, ::-1]
        assert np.abs(image.permute(1, 2, 0).numpy() - expected).max() <= 1


def test_previous_images_come_again_in_another_view(digits_file: Path) -> None:
    """What the update before saw in the same place, drawn as second images of their own epoch: against numpy."""
    digits = Digits().split("val", None)
    stream = train_stream(digits_file, mates="previous", seed=9, global_batch=72, batch_per_gpu=36)
    before, now = list(stream.epoch(3)), list(stream.epoch(4))
    line, epochs = [*before, *now], [3] * len(before) + [4] * len(now)
    for place in range(len(before), len(line)):
        seen, again = line[place - 2], line[place].mates  # two micro-batches make an update
        assert again is not None
        assert torch.equal(again.indices, seen.indices) and torch.equal(again.labels, seen.labels)
        assert sum(torch.equal(one, two) for one, two in zip(again.images, seen.images, strict=True)) < 4
        for number, image in zip(again.indices.tolist()[:3], again.images, strict=False):
            epoch = epochs[place - 2]
            top, left = (int(uniform(9, epoch, MATE, purpose, number)[0] * 9) for purpose in (TOP, LEFT))
            expected = np.pad(digits[number][0], ((4, 4), (4, 4), (0, 0)))[top : top + 32, left : left + 32]
            if uniform(9, epoch, MATE, FLIP, number)[0] < 0.5:
                expected = expected[:, ::-1]
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("first_epoch", [0, 2])
def test_before_the_first_update_there_are_no_previous_images(mixed_file: Path, first_epoch: int) -> None:
    stream = train_stream(mixed_file, mates="previous", first_epoch=first_epoch, augment=RESIZED)
    first, *others = list(stream.epoch(first_epoch))[::4]  # the first micro-batch of every update
    assert first.mates is None and all(batch.mates is not None for batch in others)
    assert next(stream.epoch(first_epoch + 1)).mates is not None


def test_previous_images_have_the_size_of_the_epoch_they_come_back_in(mixed_file: Path) -> None:
    growing = train_stream(mixed_file, replace(RESIZED, sizes=((1, 24),)), mates="previous")
    first = next(growing.epoch(1))
    assert first.mates is not None and first.mates.images.shape == first.images.shape == (2, 3, 24, 24)


def test_classmates_share_the_label_and_change_with_the_epoch(digits_file: Path) -> None:
    paired = train_stream(digits_file, mates="class", **ALL)
    chosen = []
    for epoch in (0, 1):
        pairs = list(paired.epoch(epoch))
        (_, labels, indices), (_, mate_labels, mate_indices) = joined(pairs), joined(mates(pairs))
        assert torch.equal(labels, mate_labels)
        assert (indices != mate_indices).all()
        chosen.append(mate_indices[indices.argsort()])
    assert (chosen[0] != chosen[1]).sum() > 0.9 * 360


def test_the_only_image_of_a_class_is_its_own_mate_in_another_view(noise_file: Path) -> None:
    paired = train_stream(noise_file, Augment(crop="pad", size=24), mates="class", global_batch=20)
    differ = 0
    for epoch in range(5):
        pairs = list(paired.epoch(epoch))
        one, two = joined(pairs), joined(mates(pairs))
        assert (one[2] == two[2]).tolist() == (one[2] == 19).tolist()
        differ += int((one[0] != two[0])[one[2] == 19].any())
    assert differ >= 4


def test_every_other_one_of_the_class_is_picked_equally_often() -> None:
    labels = np.array([5, 0, 5, 5, 0, 9, 5])
    classmates = Classmates(labels)
    for index in range(7):
        others = sorted(set(np.flatnonzero(labels == labels[index]).tolist()) - {index}) or [index]
        draws = (np.arange(6 * len(others)) + 0.5) / (6 * len(others))
        picked = classmates.pick(np.full(len(draws), index), draws)
        assert sorted(picked.tolist()) == sorted(others * 6)
    last = np.full(7, 1 - 2.0**-53)
    assert (labels[classmates.pick(np.arange(7), last)] == labels).all(), "the largest draw stays in the class"


def test_picks_follow_the_draw_of_each_sample(digits_file: Path) -> None:
    labels = np.array(Digits().split("val", None).labels)
    pairs = list(train_stream(digits_file, mates="class", seed=3, **ALL).epoch(8))
    indices = joined(pairs)[2].numpy()
    expected = Classmates(labels).pick(indices, uniform(3, 8, CLASSMATE, indices))
    assert joined(mates(pairs))[2].tolist() == expected.tolist()


def test_pinned_mates(noise_file: Path) -> None:
    """Published results of self-distillation depend on them: indices and padded crops, the same on any machine."""
    digest = hashlib.sha256()
    for kind in KINDS:
        pairs = list(train_stream(noise_file, Augment(crop="pad", size=24), mates=kind, global_batch=20).epoch(1))
        images, _, indices = joined(mates(pairs))
        digest.update(images.to(torch.uint8).numpy().tobytes() + indices.numpy().astype("<i8").tobytes())
    assert digest.hexdigest() == "bb9938fa7b25df87e32e379509cd314f8d08fce42090ba6076f3de2348fc9a73"
