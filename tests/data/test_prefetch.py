"""Reading ahead by threads: in order, with errors passed on, and nothing left behind."""

import threading
import time

import pytest

from harness.data._prefetch import prefetched
from harness.errors import StageError


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order(workers: int) -> None:
    def slow_if_even(number: int) -> int:
        time.sleep(0.002 * (number % 2 == 0))
        return number * number

    assert list(prefetched(slow_if_even, range(30), workers)) == [n * n for n in range(30)]


def test_an_error_comes_in_the_place_of_its_result() -> None:
    def fails_at_three(number: int) -> int:
        if number == 3:
            raise ZeroDivisionError("three")
        return number

    seen = []
    with pytest.raises(ZeroDivisionError, match="three"):
        for result in prefetched(fails_at_three, range(100), 2):
            seen.append(result)
    assert seen == [0, 1, 2]


def test_a_stuck_reader_is_an_error_within_bounded_time() -> None:
    release = threading.Event()
    started = time.monotonic()
    with pytest.raises(StageError, match="no data for 0 s: a reading thread is stuck"):
        next(prefetched(lambda _: release.wait(30), [0], 1, patience_s=0.2))
    release.set()
    assert time.monotonic() - started < 5


def test_reading_ahead_is_bounded() -> None:
    begun: list[int] = []
    results = prefetched(begun.append, range(100), 2)
    next(results)
    time.sleep(0.1)
    assert len(begun) <= 4
    results.close()


def test_leaving_early_waits_for_what_runs_and_drops_the_rest() -> None:
    running, done = threading.Semaphore(0), []

    def work(number: int) -> int:
        running.release()
        time.sleep(0.05)
        done.append(number)
        return number

    results = prefetched(work, range(100), 1)
    next(results)
    running.acquire()
    results.close()
    finished = list(done)
    time.sleep(0.2)
    assert done == finished and len(done) <= 3


def test_threads_are_shared_and_never_more() -> None:
    def three(_: int) -> int:
        return 3

    next(prefetched(three, range(9), 2))
    before = threading.active_count()
    for _ in range(20):
        next(prefetched(three, range(9), 2))
    assert threading.active_count() == before
