"""What a person watches: a living line on a terminal, plain lines in a log."""

import io

from harness.progress import Screen, clock

EVENTS = [
    {"event": "start", "ranks": 4},
    {
        "event": "steps",
        "epoch": 1,
        "epochs": 2,
        "done": 50,
        "of": 200,
        "loss": 2.5,
        "images_per_s": 10.0,
        "seconds_left": 15,
    },
    {
        "event": "epoch",
        "epoch": 1,
        "epochs": 2,
        "done": 100,
        "of": 200,
        "loss": 2.0,
        "images_per_s": 1234.5,
        "seconds_left": 65,
    },
    {"event": "done", "seconds": 3725},
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(stream: io.StringIO, events: list[dict[str, object]]) -> str:
    screen = Screen(stream)
    for event in events:
        screen.show("train (a)", event)
    screen.close()
    return stream.getvalue()


def test_a_log_gets_plain_lines_once_an_epoch() -> None:
    assert drawn(io.StringIO(), EVENTS).splitlines() == [
        "train (a): started on 4 ranks",
        "train (a): epoch 1/2, loss 2.0000, 1,234 images/s, 1:05 left",
        "train (a): done in 1:02:05",
    ]


def test_a_terminal_gets_one_line_that_lives() -> None:
    text = drawn(Terminal(), EVENTS)
    assert "\r" in text
    assert "25%" in text and "50%" in text
    assert "loss 2.5000, 10 images/s, 0:15 left" in text
    assert text.splitlines()[-1].endswith("train (a): done in 1:02:05")


def test_a_failure_says_where_and_why() -> None:
    line = drawn(io.StringIO(), [{"event": "failed", "rank": 3, "reason": "no space", "kind": "OSError"}])
    assert line == "train (a): failed on rank 3: no space\n"


def test_an_attempt_that_is_stopped_is_no_failure() -> None:
    line = drawn(io.StringIO(), [{"event": "stopped", "reason": "the machine is taken away soon"}])
    assert line == "train (a): stopped: the machine is taken away soon; it goes on later\n"


def test_what_was_saved_is_told_when_it_is_needed() -> None:
    events: list[dict[str, object]] = [
        {"event": "saved", "updates": 1200, "seconds": 0.1},
        {"event": "resumed", "updates": 1200},
    ]
    assert drawn(io.StringIO(), events) == "train (a): goes on after 1,200 updates\n"


def test_clocks() -> None:
    assert [clock(s) for s in (0.4, 59.6, 3599, 86400)] == ["0:00", "1:00", "59:59", "24:00:00"]
