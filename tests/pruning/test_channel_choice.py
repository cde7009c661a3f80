"""A user says which share of the channels goes, and in what multiples they stay."""

import pytest
import torch
from torch import Tensor

from harness.pruning.channel import Record
from harness.pruning.channel_choice import channel_reduction, lowest_channels
from harness.pruning.reduction import ChannelScope

SCOPES: tuple[ChannelScope, ...] = ("layer", "global")


@pytest.fixture
def scores() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {"wide": torch.rand(40), "narrow": torch.rand(20) / 2, "thin": torch.rand(6) + 1}


def kept(record: Record) -> dict[str, int]:
    return {group["layer"]: group["channels"] - len(group["removed"]) for group in record["groups"]}


def test_each_layer_loses_the_same_share(scores: dict[str, Tensor]) -> None:
    assert kept(lowest_channels(scores, 0.5, "layer")) == {"wide": 20, "narrow": 10, "thin": 3}


def test_of_layers_that_are_due_together_the_first_comes_first() -> None:
    twins = {"first": torch.arange(4.0), "second": torch.arange(4.0), "wide": torch.arange(8.0)}
    steps = [kept(lowest_channels(twins, count / 16, "layer")) for count in range(1, 5)]
    assert [tuple(step.values()) for step in steps] == [(4, 4, 7), (3, 4, 7), (3, 3, 7), (3, 3, 6)]


def test_one_threshold_for_all_is_the_share_of_all(scores: dict[str, Tensor]) -> None:
    record = lowest_channels(scores, 0.5, "global")
    threshold = torch.cat(list(scores.values())).sort().values[32]
    for group in record["groups"]:
        assert group["removed"] == (scores[group["layer"]] <= threshold).nonzero().flatten().tolist()
    assert channel_reduction(record) == 0.5


@pytest.mark.parametrize("scope", SCOPES)
def test_the_lowest_go_and_equal_ones_from_the_front(scope: ChannelScope) -> None:
    record = lowest_channels({"layer": torch.tensor([3.0, 1.0, 2.0, 1.0, 1.0])}, 0.4, scope)
    assert record == {"groups": [{"layer": "layer", "channels": 5, "removed": [1, 3]}]}


@pytest.mark.parametrize("scope", SCOPES)
def test_one_channel_always_stays(scores: dict[str, Tensor], scope: ChannelScope) -> None:
    assert kept(lowest_channels(scores, 1.0, scope)) == {"wide": 1, "narrow": 1, "thin": 1}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 1.0])
def test_multiples_stay_where_the_group_has_one(scores: dict[str, Tensor], scope: ChannelScope, share: float) -> None:
    left = kept(lowest_channels(scores, share, scope, round_to=8))
    assert left["thin"] == 6
    assert left["wide"] % 8 == left["narrow"] % 8 == 0
    assert min(left.values()) > 0


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("round_to", [1, 4])
def test_a_channel_more_takes_one_step_in_one_layer_and_gives_none_back(
    scores: dict[str, Tensor], scope: ChannelScope, round_to: int
) -> None:
    before: list[set[int]] = [set(), set(), set()]
    for count in range(67):
        groups = lowest_channels(scores, count / 66, scope, round_to)["groups"]
        now = [set(group["removed"]) for group in groups]
        assert all(was <= known for was, known in zip(before, now, strict=True))
        if count:
            assert sum(map(len, now)) - sum(map(len, before)) in (0, round_to)
        before = now
    assert sum(map(len, before)) > 50
