"""Events are appended by one process and followed by another."""

import json
import threading
from pathlib import Path

from harness.journal import MOST_WAITING, Event, Follower, Journal


def told(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_follower_sees_what_comes_after_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "a.jsonl")
    journal.write("old")
    follower = Follower(tmp_path / "deep" / "a.jsonl")
    journal.write("epoch", epoch=1)
    journal.write("done", seconds=2.5)
    assert [(e["event"], e.get("epoch"), e.get("seconds")) for e in follower.new_events()] == [
        ("epoch", 1, None),
        ("done", None, 2.5),
    ]
    assert follower.new_events() == []


def test_a_line_still_being_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    follower = Follower(path)
    path.write_text('{"event": "one"}\n{"event": "tw')
    assert [e["event"] for e in follower.new_events()] == ["one"]
    with open(path, "a") as file:
        file.write('o"}\n')
    assert [e["event"] for e in follower.new_events()] == ["two"]


def test_other_ranks_tell_nobody_and_listeners_hear_all(tmp_path: Path) -> None:
    heard: list[Event] = []
    Journal(None).write("lost")
    Journal(tmp_path / "a.jsonl", heard.append).write("start", ranks=4)
    assert [(e["event"], e["ranks"]) for e in heard] == [("start", 4)]


def test_what_cannot_be_written_while_the_store_is_away_comes_later(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.write_text("in its place")
    heard: list[Event] = []
    journal = Journal(folder / "a.jsonl", heard.append)
    journal.write("epoch", epoch=1)
    journal.write("epoch", epoch=2)
    assert [event["epoch"] for event in heard] == [1, 2], "who listens hears it at once"
    folder.unlink()
    journal.write("done", seconds=3)
    journal.write("more")
    assert told(folder / "a.jsonl")[:2] == heard[:2]
    assert [event["event"] for event in told(folder / "a.jsonl")] == ["epoch", "epoch", "done", "more"]


def test_a_store_that_stays_away_does_not_fill_the_memory(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.write_text("in its place")
    journal = Journal(folder / "a.jsonl")
    for number in range(MOST_WAITING + 50):
        journal.write("steps", updates=number)
    folder.unlink()
    journal.write("done")
    *steps, done = told(folder / "a.jsonl")
    assert [event["updates"] for event in steps] == list(range(50, MOST_WAITING + 50)), "the newest are kept"
    assert done["event"] == "done"


def test_two_threads_do_not_write_into_one_line(tmp_path: Path) -> None:
    """Checkpoints are told by a thread of their own."""
    journal = Journal(tmp_path / "a.jsonl")

    def tell(name: str) -> None:
        for _ in range(50):
            journal.write(name, text="x" * 5000)

    threads = [threading.Thread(target=tell, args=(name,)) for name in ("steps", "saved")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [event["event"] for event in told(tmp_path / "a.jsonl")]
    assert (names.count("steps"), names.count("saved")) == (50, 50)
