"""A minival is cut from the training images, seeded, and never meets them again."""

from collections import Counter

import numpy as np
import pytest

from harness.context import Context
from harness.data._arrays import ArrayImages
from harness.data._minival import Subset, cut
from harness.data.digits import Digits
from harness.data.prepared import Prepared
from harness.errors import UserError
from harness.stages.prepare import Prepare

LABELS = [label for label in range(4) for _ in range(25)]
PIXELS = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1).repeat(3, axis=3)
IMAGES = ArrayImages(PIXELS, LABELS, list("abcd"), listing="test")


def numbers(images: Subset) -> list[int]:
    return [int(images[i][0][0, 0, 0]) for i in range(len(images))]


def test_it_holds_the_share_of_every_class_and_nothing_is_in_both() -> None:
    rest, minival = cut(IMAGES, 0.2, seed=0)
    assert Counter(minival.labels) == dict.fromkeys(range(4), 5)
    assert sorted(numbers(rest) + numbers(minival)) == list(range(100))
    assert [LABELS[number] for number in numbers(minival)] == list(minival.labels)


def test_the_seed_decides_which() -> None:
    (_, first), (_, again), (_, other) = (cut(IMAGES, 0.2, seed) for seed in (0, 0, 1))
    assert numbers(first) == numbers(again) != numbers(other)
    assert numbers(first) != list(range(100))[:5] + list(range(25, 30)), "drawn, not the first ones"


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"leaves one of the two empty"):
        cut(IMAGES, 0.01, seed=0)
    with pytest.raises(UserError, match=r"minival 1\.5 is a share"):
        Prepare(source=Digits(), minival=1.5)


def test_prepared_it_is_a_split_like_the_others(prepared_with_minival: Prepared, context: Context) -> None:
    facts = prepared_with_minival.facts
    assert facts.images == {"train": 1150, "minival": 287, "val": 360}
    assert "1150 train + 287 minival + 360 val" in facts.fingerprint
    seen = [batch.labels for batch in prepared_with_minival.eval_stream("minival", 32, 1.0, 50, context)]
    assert sum(len(labels) for labels in seen) == 287


def test_without_one_the_key_is_what_it_was() -> None:
    plain = Prepare(source=Digits())
    assert Prepare(source=Digits(), minival=0.0).key == plain.key != Prepare(source=Digits(), minival=0.2).key
