"""Two ways of doing the same work, measured in turns.

Lives here: `in_turns`, `seconds`. Must not: the work, what the numbers mean (`measurement`).
"""

from collections.abc import Callable
from time import perf_counter


def in_turns(
    ours: Callable[[], float], baseline: Callable[[], float], turns: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What either side measured of itself, turn by turn.

    One turn of each goes before to warm up and is dropped. Then the sides take turns at going first, so that a machine
    that slows down or speeds up does so for both.
    """
    ours()
    baseline()
    mine, theirs = [], []
    for turn in range(turns):
        if turn % 2:
            theirs.append(baseline())
            mine.append(ours())
        else:
            mine.append(ours())
            theirs.append(baseline())
    return tuple(mine), tuple(theirs)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = perf_counter()
    work()
    return perf_counter() - started
