"""How many channels have to go for a network to become so much smaller or faster.

Lives here: `choose_channels`, and the search for the share. Must not: scores and removal (`harness.pruning.channel`),
which channels a share means (`harness.pruning.channel_choice`).
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from harness.errors import UserError
from harness.pruning.channel import Record, replay
from harness.pruning.channel_choice import channel_reduction, lowest_channels
from harness.pruning.channel_cost import Costs
from harness.pruning.channel_latency import latency_ratio
from harness.pruning.reduction import ChannelScope, Measure, require_reduction

TOLERANCE = 0.01
"""A latency this close to the one asked for, as a share of the dense network's, will do."""
TRIALS = 12
"""Halvings of the share: enough to tell single channels apart in groups of 4096."""


def choose_channels(
    model: nn.Module,
    example: Tensor,
    scores: Mapping[str, Tensor],
    reduction: float,
    *,
    measure: Measure = "channels",
    scope: ChannelScope = "layer",
    round_to: int = 1,
) -> tuple[Record, dict[str, float]]:
    """What to remove so that `reduction` of the `measure` goes, for `replay`; and the reductions reached, by measure.

    The lowest `scores` go. The reduction is met as nearly as whole channels and `round_to` allow, or `TRIALS` find; a
    latency, which is noisy, within `TOLERANCE`. `model` is untouched; `example`: (1, 3, S, S).
    Raises UserError if the reduction is outside (0, 1) or more than can go.
    """
    require_reduction(reduction, round_to)
    costs = Costs(model, example)
    counted = {"channels": channel_reduction, "macs": costs.macs_reduction, "parameters": costs.parameters_reduction}
    measured = counted[measure] if measure in counted else partial(_latency_reduction, model, example)
    record_at = partial(lowest_channels, scores, scope=scope, round_to=round_to)
    record, reached = _search(record_at, measured, reduction, measure)
    return record, {name: count(record) for name, count in counted.items()} | {measure: reached}


def _search(
    record_at: Callable[[float], Record], measured: Callable[[Record], float], target: float, measure: Measure
) -> tuple[Record, float]:
    """Bisect on the share, of which the reduction is an increasing function; the nearest record and its reduction."""
    record = record_at(1.0)
    reached = measured(record)
    if reached < target - TOLERANCE:
        raise UserError(f"a reduction of {target} of the {measure} is out of reach: at most {reached:.3f} can go")
    close = TOLERANCE if measure == "latency" else 0.0
    best, low, high, share = (record, reached), 0.0, 1.0, target
    for _ in range(TRIALS):
        if abs(best[1] - target) <= close:
            break
        record = record_at(share)
        reached = measured(record)
        best = min(best, (record, reached), key=lambda trial: abs(trial[1] - target))
        low, high = (share, high) if reached < target else (low, share)
        share = (low + high) / 2
    return best


def _latency_reduction(model: nn.Module, example: Tensor, record: Record) -> float:
    narrow = copy.deepcopy(model)
    replay(narrow, record, example)
    return 1 - latency_ratio(narrow, model, example)
