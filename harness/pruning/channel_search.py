"""How many channels have to go for a network to become so much smaller or faster.

Lives here: `choose_channels`, and the search for how many. Must not: scores and removal (`harness.pruning.channel`),
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
from harness.pruning.channel_latency import REPORTED_ROUNDS, ROUNDS, latency_ratio
from harness.pruning.reduction import ChannelScope, Measure, require_reduction

TOLERANCE = 0.01
"""A latency this close to the one asked for will do, and so will all that can go if it falls short by so little."""


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

    The lowest `scores` go. What is counted is met as nearly as whole channels, or multiples of `round_to`, allow: so
    within 1 % wherever one of them is worth no more than 2 %. A latency is met within `TOLERANCE` by a short
    measurement if channels are that fine, and reported from a longer one of the network that was taken, for the nearest
    of many noisy numbers flatters. `model` is untouched; `example`: (1, 3, S, S). Raises UserError if the reduction is
    outside (0, 1) or more than can go.
    """
    require_reduction(reduction, round_to)
    costs = Costs(model, example)
    counted = {"channels": channel_reduction, "macs": costs.macs_reduction, "parameters": costs.parameters_reduction}
    latency = partial(_latency_reduction, model, example)
    channels = sum(len(score) for score in scores.values())

    def record_of(count: int) -> Record:
        return lowest_channels(scores, count / channels, scope, round_to)

    record = _search(record_of, channels, counted.get(measure, latency), reduction, measure)
    reached = {name: count(record) for name, count in counted.items()}
    return record, reached if measure in counted else reached | {measure: latency(record, REPORTED_ROUNDS)}


def _search(
    record_of: Callable[[int], Record],
    channels: int,
    measured: Callable[[Record], float],
    target: float,
    measure: Measure,
) -> Record:
    """The nearest record: bisect on how many channels go, of which the reduction is an increasing function.

    Unless a record is close enough before, this ends between two neighbouring counts, one below the target and one not,
    so none is nearer; and neighbours differ in one group at most, by one channel or multiple (`lowest_channels`). For
    the 11,456 channels of a ResNet-50 that takes 14 trials.
    """
    every = record_of(channels)
    most = measured(every)
    if most < target - TOLERANCE:
        raise UserError(f"a reduction of {target} of the {measure} is out of reach: at most {most:.3f} can go")
    close = TOLERANCE if measure == "latency" else 0.0
    nearest, miss = every, abs(most - target)
    low, high = -1, channels
    while high - low > 1 and miss > close:
        count = (low + high) // 2
        record = record_of(count)
        reached = measured(record)
        if abs(reached - target) < miss:
            nearest, miss = record, abs(reached - target)
        low, high = (count, high) if reached < target else (low, count)
    return nearest


def _latency_reduction(model: nn.Module, example: Tensor, record: Record, rounds: int = ROUNDS) -> float:
    narrow = copy.deepcopy(model)
    replay(narrow, record, example)
    return 1 - latency_ratio(narrow, model, example, rounds)
