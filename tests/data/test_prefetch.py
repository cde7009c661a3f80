"""Reading ahead by threads: in order, with errors passed on, and nothing left behind."""

import threading
import time
from functools import partial

import pytest

from harness.data import _prefetch
from harness.errors import StageError

prefetched = partial(_prefetch.prefetched, patience_s=30.0, reading="numbers")


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


def test_a_stuck_reader_is_an_error_after_one_patience_and_is_not_waited_for_again() -> None:
    release = threading.Event()
    started = time.monotonic()
    try:
        with pytest.raises(StageError) as stall:
            list(prefetched(lambda _: release.wait(30), range(9), 2, patience_s=1.0, reading="/images/train.beton"))
        assert 1 <= time.monotonic() - started < 1.9
    finally:
        release.set()
    assert str(stall.value) == (
        "no data for 1 s while reading /images/train.beton: look whether its file system answers, or raise --patience"
        " if it is only slow"
    )


def test_after_a_stall_no_more_work_begins() -> None:
    begun, release = [], threading.Event()

    def stuck(number: int) -> None:
        begun.append(number)
        release.wait(30)

    with pytest.raises(StageError):
        next(prefetched(stuck, range(9), 1, patience_s=0.2))
    release.set()
    assert list(prefetched(abs, [-1], 1)) == [1], "the thread goes on when the file system answers again"
    assert begun == [0]


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
