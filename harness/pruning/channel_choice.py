"""Which channels go, given their scores and a share.

Lives here: the order in which channels go, and taking the first. Must not: networks, scores
(`harness.pruning.channel`), finding the share (`harness.pruning.channel_search`).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.pruning.channel import Record
from harness.pruning.reduction import ChannelScope


def lowest_channels(scores: Mapping[str, Tensor], share: float, scope: ChannelScope, round_to: int = 1) -> Record:
    """The record that removes `share`, 0 .. 1, of all groups' channels: of each the lowest, equal ones in order.

    `layer`: the same share of each group, to the next channel; where several groups are due the first loses one first.
    `global`: the lowest of all. Then a group keeps the multiple of `round_to` nearest to what is left of it, and at
    least one multiple; a group narrower than `round_to` stays whole. So one channel more going narrows one group at
    most, by one channel or multiple, and a larger share removes the same channels or more.
    """
    sizes = [len(score) for score in scores.values()]
    going = _order(scores, sizes, scope)[: round(share * sum(sizes))].bincount(minlength=len(sizes)).tolist()
    groups = []
    for (layer, score), lowest in zip(scores.items(), going, strict=True):
        channels = len(score)
        count = channels - _kept(channels, channels - lowest, round_to)
        removed = score.argsort(stable=True)[:count].sort().values.tolist()
        groups.append({"layer": layer, "channels": channels, "removed": removed})
    return {"groups": groups}


def channel_reduction(record: Record) -> float:
    """The share of the channels of all groups in `record` that it removes."""
    had: int = sum(group["channels"] for group in record["groups"])
    return sum(len(group["removed"]) for group in record["groups"]) / had


def _order(scores: Mapping[str, Tensor], sizes: list[int], scope: ChannelScope) -> Tensor:
    """The number of the group that loses its next channel, int64 [channels of all groups]."""
    if scope == "global":
        turns = torch.cat(list(scores.values()))
    else:
        turns = torch.cat([(torch.arange(size, dtype=torch.float64) + 0.5) / size for size in sizes])
    owners = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return owners[turns.argsort(stable=True)]


def _kept(channels: int, wanted: int, round_to: int) -> int:
    if channels < round_to:
        return channels
    return max(min(round(wanted / round_to), channels // round_to), 1) * round_to
