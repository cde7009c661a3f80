"""Two ways of doing the same work, timed in turns.

Lives here: `compare`. Must not: the work.
"""

import statistics
import time
from collections.abc import Callable


def compare(what: str, ours: Callable[[], None], theirs: Callable[[], None], baseline: str, turns: int = 5) -> str:
    """One line: the median ratio of `theirs` to `ours` with its spread over the turns, after one turn to warm up."""
    ours()
    theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(turns)]
    ratios = sorted(slow / fast for fast, slow in pairs)
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return (
        f"{what}: {statistics.median(ratios):.2f}x ({ratios[0]:.2f} .. {ratios[-1]:.2f}, {turns} turns):"
        f" {mine:.3f} s, {baseline} {other:.3f} s"
    )


def seconds(work: Callable[[], None]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
