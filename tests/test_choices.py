"""What a field may hold is told when a spec is made, long before anything runs."""

from dataclasses import dataclass
from math import inf
from typing import Any

import pytest

from harness.choices import require_choices, require_not_negative, require_positive, require_share
from harness.data.augment import Augment
from harness.distillation.attention_transfer import AttentionTransfer
from harness.distillation.crd import CRD
from harness.distillation.dist import DIST
from harness.distillation.dkd import DKD
from harness.distillation.kd import KD
from harness.distillation.nkd import NKD
from harness.distillation.standardised_kd import StandardisedKD
from harness.errors import UserError
from harness.models.resnet import ResNet


@dataclass(frozen=True, kw_only=True)
class Numbers:
    size: float = 1.0
    weight: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "size")
        require_not_negative(self, "weight")
        require_share(self, "share")


@pytest.mark.parametrize("numbers", [{}, {"size": 1e-9, "weight": 1e9, "share": 0}, {"size": 3, "share": 0.5}])
def test_numbers_within_their_bounds_are_taken(numbers: dict[str, float]) -> None:
    Numbers(**numbers)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"size": 0}, "size of Numbers is 0: give it a number above 0"),
        ({"size": inf}, "size of Numbers is inf: give it a number above 0"),
        ({"weight": -0.5}, "weight of Numbers is -0.5: give it 0 or a number above it"),
        ({"weight": inf}, "weight of Numbers is inf: give it 0 or a number above it"),
        ({"share": 1.5}, "share of Numbers is 1.5: give it a number from 0 to 1"),
        ({"share": -1}, "share of Numbers is -1: give it a number from 0 to 1"),
    ],
)
def test_a_number_out_of_bounds_is_refused_in_one_line(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(UserError) as refused:
        Numbers(**numbers)
    assert str(refused.value) == message


@pytest.mark.parametrize("method", [KD, DKD, NKD, DIST, StandardisedKD, CRD])
def test_no_method_divides_by_a_temperature_of_zero(method: Any) -> None:
    with pytest.raises(UserError, match=f"temperature of {method.__name__} is 0: give it a number above 0"):
        method(temperature=0)


@pytest.mark.parametrize(("method", "field"), [(CRD, "dim"), (CRD, "negatives"), (AttentionTransfer, "power")])
def test_nothing_is_learned_from_nothing(method: Any, field: str) -> None:
    with pytest.raises(UserError, match=f"{field} of {method.__name__} is 0: give it a number above 0"):
        method(**{field: 0})


@pytest.mark.parametrize(("method", "field"), [(KD, "kd_weight"), (CRD, "momentum")])
def test_a_share_is_not_more_than_the_whole(method: Any, field: str) -> None:
    with pytest.raises(UserError, match=f"{field} of {method.__name__} is 2: give it a number from 0 to 1"):
        method(**{field: 2})


def test_a_misspelt_word_is_told_with_the_nearest() -> None:
    require_choices(Augment(crop="none", size=32))
    with pytest.raises(UserError, match="unknown crop 'resize' in Augment: did you mean 'resized'"):
        Augment(crop="resize", size=32)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown depth 51 in ResNet"):
        ResNet(depth=51, classes=2)  # type: ignore[arg-type]
