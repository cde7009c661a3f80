"""What a training image goes through, as a spec."""

from typing import Any

import pytest

from harness.data.augment import Augment
from harness.errors import UserError
from harness.spec import encode, model_from_json


def test_the_side_follows_the_epochs() -> None:
    growing = Augment(crop="resized", size=96, sizes=((2, 128), (5, 160), (9, 224)))
    assert [growing.size_at(epoch) for epoch in range(11)] == [96] * 2 + [128] * 3 + [160] * 4 + [224] * 2
    assert Augment(crop="pad", size=32).size_at(7) == 32


def test_an_augment_without_sizes_is_written_as_it_always_was() -> None:
    assert "sizes" not in encode(Augment(crop="resized", size=224))
    growing = Augment(crop="resized", size=224, sizes=((0, 128), (16, 224)))
    assert model_from_json(encode(growing)) == growing


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"crop": "pad"}, "sizes .* belong to the crop 'resized', this one is 'pad'"),
        ({"sizes": ((3, 128), (1, 160))}, "epochs of sizes .* do not rise from 0 on"),
        ({"sizes": ((3, 128), (3, 160))}, "epochs of sizes .* do not rise from 0 on"),
        ({"sizes": ((-1, 128),)}, "epochs of sizes .* do not rise from 0 on"),
        ({"sizes": ((0, 0),)}, "hold a side below one pixel"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Augment(**{"crop": "resized", "size": 224, "sizes": ((0, 128),), **changes})
