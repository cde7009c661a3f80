"""Work done ahead by threads, handed over in order.

Lives here: `prefetched`. Must not: what the work is.

The threads are shared by all callers of a process and live as long as it: the JPEG decoder keeps a handle per thread
and never frees it, so threads that come and go with each epoch would leak. They are daemons: one stuck in a dead file
system must not keep a failed process alive.
"""

import functools
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from harness.errors import StageError

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetched(
    make: Callable[[Item], Result], items: Iterable[Item], workers: int, *, patience_s: float, reading: str
) -> Generator[Result, None, None]:
    """`map(make, items)` by `workers` threads, in the order of `items`, at most `workers` + 2 results ahead.

    An exception of `make` is raised here, in the place of its result. Closing the iterator early drops what has not
    begun and waits for what has. Raises StageError if a result keeps the caller waiting for more than `patience_s`
    seconds; `reading` is its word for what is read, a path say.
    """
    queue = _threads(workers)
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            future: Future[Result] = Future()
            queue.put((future, make, item))
            pending.append(future)
            if len(pending) == workers + 2:
                yield _first(pending, patience_s, reading)
        while pending:
            yield _first(pending, patience_s, reading)
    finally:
        wait([future for future in pending if not future.cancel()], timeout=patience_s)


def _first(pending: deque[Future[Result]], patience_s: float, reading: str) -> Result:
    if not wait([pending[0]], timeout=patience_s).done:
        for future in pending:
            future.cancel()
        pending.clear()  # the thread is given up: whoever closes the iterator must not wait for it once more
        raise StageError(
            f"no data for {patience_s:g} s while reading {reading}: look whether its file system answers, or raise"
            " --patience if it is only slow"
        )
    return pending.popleft().result()


@functools.cache
def _threads(count: int) -> "SimpleQueue[Any]":
    """The queue that `count` threads of this process serve."""
    queue: SimpleQueue[Any] = SimpleQueue()
    for number in range(count):
        Thread(target=_serve, args=(queue,), name=f"data-{count}-{number}", daemon=True).start()
    return queue


def _serve(queue: "SimpleQueue[Any]") -> None:
    while True:
        future, make, item = queue.get()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(make(item))
            except BaseException as error:  # whatever it is belongs to the caller, not to this thread
                future.set_exception(error)
        del future, make, item  # or the last result would live until the next piece of work
