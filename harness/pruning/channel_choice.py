"""Which channels go, given their scores and a share.

Lives here: counting and taking the lowest. Must not: networks, scores (`harness.pruning.channel`), finding the share
(`harness.pruning.channel_search`).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.pruning.channel import Record
from harness.pruning.reduction import ChannelScope


def lowest_channels(scores: Mapping[str, Tensor], share: float, scope: ChannelScope, round_to: int = 1) -> Record:
    """The record that removes the lowest `share`, 0 .. 1, of each group's channels, or of all; equal ones in order.

    A group keeps the multiple of `round_to` nearest to what the share leaves it, and at least one multiple; a group
    narrower than `round_to` stays whole. So a larger share removes the same channels or more.
    """
    going = _globally(scores, share) if scope == "global" else [round(share * len(score)) for score in scores.values()]
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


def _globally(scores: Mapping[str, Tensor], share: float) -> list[int]:
    """How many of each group are among the lowest of all."""
    sizes = torch.tensor([len(score) for score in scores.values()])
    lowest = torch.cat(list(scores.values())).argsort(stable=True)[: round(share * int(sizes.sum()))]
    owners = torch.arange(len(sizes)).repeat_interleave(sizes)
    counts: list[int] = owners[lowest].bincount(minlength=len(sizes)).tolist()
    return counts


def _kept(channels: int, wanted: int, round_to: int) -> int:
    if channels < round_to:
        return channels
    return max(min(round(wanted / round_to), channels // round_to), 1) * round_to
