"""How much faster a pruned network answers, measured.

Lives here: `latency_ratio`. Must not: what is counted (`harness.cost`).
"""

import time
from statistics import median

import torch
from torch import Tensor, nn

WARM_UP = 3
"""Forwards of each network before any is timed."""
ROUNDS = 15
"""Timed forwards of each network, to compare it with others."""
REPORTED_ROUNDS = 60
"""Timed forwards of the network that is taken: four times the comparison's, so the median is half as uncertain."""


@torch.no_grad()
def latency_ratio(pruned: nn.Module, dense: nn.Module, images: Tensor, rounds: int = ROUNDS) -> float:
    """Median seconds for one forward of `pruned` over those of `dense`, in evaluation mode, in which both stay.

    The two take turns, so that a machine that slows down does so for both. `images`: (1, 3, S, S), a batch of one, on
    the device and in the precision that count.
    """
    networks = (pruned.eval(), dense.eval())
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(WARM_UP + rounds):
        for network, spent in zip(networks, seconds, strict=True):
            started = _now(images)
            network(images)
            if turn >= WARM_UP:
                spent.append(_now(images) - started)
    return median(seconds[0]) / median(seconds[1])


def _now(images: Tensor) -> float:
    """Seconds, after all work on a GPU is done."""
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter()
