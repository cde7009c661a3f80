"""Makes Python's clock wrong on machines of which `tests.cluster.faults.wrong_clock` says so.

Python imports this module by itself where its folder is on PYTHONPATH, as in every job of the test cluster. The clock
of a machine cannot be wrong in earnest: all of them share one kernel. `time.time` is shifted, and is asked anew at
each call, so that a clock may jump under a running process; the times of files and `datetime.now` stay right.
"""

import os
import socket
import time
from pathlib import Path


def _follow(note: Path) -> None:
    right, right_ns = time.time, time.time_ns

    def seconds_wrong() -> int:
        try:
            return int(note.read_text())
        except FileNotFoundError:
            return 0

    time.time = lambda: right() + seconds_wrong()
    time.time_ns = lambda: right_ns() + seconds_wrong() * 10**9


if folder := os.environ.get("TEST_CLOCKS"):
    _follow(Path(folder) / socket.gethostname())
