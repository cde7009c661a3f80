"""Both sides are measured in turns, on the same clock."""

from collections.abc import Callable, Iterator

import pytest

from benchmarks.speed import interleaved
from benchmarks.speed.interleaved import in_turns, seconds


def side(name: str, took: Iterator[float], log: list[str]) -> Callable[[], float]:
    def measure() -> float:
        log.append(name)
        return next(took)

    return measure


def test_the_warm_up_is_dropped_and_pairs_belong_to_the_same_turn() -> None:
    log: list[str] = []
    ours, baseline = side("ours", iter([99.0, 1.0, 2.0, 3.0]), log), side("baseline", iter([99.0, 5.0, 6.0, 7.0]), log)
    assert in_turns(ours, baseline, turns=3) == ((1.0, 2.0, 3.0), (5.0, 6.0, 7.0))


def test_the_sides_take_turns_at_going_first() -> None:
    log: list[str] = []
    in_turns(side("o", iter([1.0] * 4), log), side("b", iter([1.0] * 4), log), turns=3)
    assert log == ["o", "b", "o", "b", "b", "o", "o", "b"]


def test_seconds_are_those_between_the_start_and_the_end_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(interleaved, "perf_counter", lambda: now[0])
    assert seconds(lambda: now.append(now.pop() + 2.5)) == 2.5
