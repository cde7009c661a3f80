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


def test_clocks() -> None:
    assert [clock(s) for s in (0.4, 59.6, 3599, 86400)] == ["0:00", "1:00", "59:59", "24:00:00"]
