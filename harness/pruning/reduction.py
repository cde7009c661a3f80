"""How much of a network channel pruning takes away, and how it chooses, as words.

Lives here: the words, and `require_reduction`. Must not: torch; choosing (`harness.pruning.channel_search`).
"""

from typing import Literal

from harness.errors import UserError

CountedMeasure = Literal["channels", "macs", "parameters"]
"""What a reduction is a share of. `channels`: of those of all groups of coupled layers that were scored."""

Measure = Literal["channels", "macs", "parameters", "latency"]
"""Also what has to be measured by a clock."""

Importance = Literal["magnitude", "bn_scale", "fpgm", "taylor", "lamp", "random"]
"""What makes a channel worth keeping; `harness.pruning.channel` says where each comes from."""

ChannelScope = Literal["layer", "global"]
"""`layer`: the same share of each group of coupled layers. `global`: one threshold over the scores of all groups."""


def require_reduction(reduction: float, round_to: int = 1) -> None:
    """Raise UserError if the reduction is no share between 0 and 1, or if channels cannot stay in such multiples."""
    if not 0 < reduction < 1:
        raise UserError(f"reduction {reduction} is not between 0 and 1: it is the share to remove, 0.5 say")
    if round_to < 1:
        raise UserError(f"round_to {round_to} is below 1: channels stay in multiples of it, so 1, 8 or 16, say")
