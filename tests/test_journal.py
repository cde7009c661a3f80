"""Events are appended by one process and followed by another."""

from pathlib import Path

from harness.journal import Event, Follower, Journal


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
