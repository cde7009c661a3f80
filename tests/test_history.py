"""What the journal of a stage tells the one who comes later."""

import json
from pathlib import Path

import pytest

from harness.history import History, read_history
from harness.store import Store
from tests.commands import toy
from tests.commands.toy import epoch, failed, start


def history(tmp_path: Path, *events: dict[str, object]) -> History:
    store = Store(tmp_path)
    toy.tell(store, "dense", *events)
    return read_history(store.journal_path(toy.key("dense")))


def saved(updates: int) -> dict[str, object]:
    return {"event": "saved", "updates": updates, "seconds": 0.25}


def resumed(updates: int) -> dict[str, object]:
    return {"event": "resumed", "updates": updates}


STOPPED: dict[str, object] = {"event": "stopped", "reason": "time limit"}
DONE: dict[str, object] = {"event": "done", "stage": "train", "seconds": 9.0}


def test_no_journal_is_no_attempt(tmp_path: Path) -> None:
    none = read_history(tmp_path / "none.jsonl")
    assert (none.attempts, none.requeues, none.ended, none.progress, none.goodput) == (0, 0, None, None, None)
    assert none.tries(None) == 0


def test_a_node_dies_and_the_next_attempt_loses_what_was_not_saved(tmp_path: Path) -> None:
    seen = history(
        tmp_path,
        *(start("7"), epoch(1, 50), saved(80), epoch(2, 100)),  # and the node dies
        *(start("7"), resumed(80), epoch(2, 100), epoch(3, 150)),
    )
    assert (seen.attempts, seen.requeues, seen.job, seen.host, seen.ended) == (2, 1, "7", "node7", None)
    assert seen.goodput == (150, 100 + 70)
    assert seen.progress is not None and seen.progress["epoch"] == 3
    assert (seen.saved_seconds, seen.restart_seconds) == ([0.25], [1.0, 2.0])


def test_what_an_ended_attempt_had_not_saved_does_not_count(tmp_path: Path) -> None:
    seen = history(tmp_path, start("7"), epoch(1, 50), saved(80), epoch(2, 100), failed("no space"))
    assert seen.goodput == (80, 100)


def test_progress_is_that_of_the_newest_attempt(tmp_path: Path) -> None:
    seen = history(tmp_path, start("7"), epoch(5, 100), saved(100), start("8"))
    assert seen.progress is None
    assert seen.goodput == (100, 100), "the checkpoint is there while the next attempt begins"


def test_a_checkpoint_that_is_lost_takes_its_updates_along(tmp_path: Path) -> None:
    seen = history(tmp_path, start("7"), epoch(1, 100), saved(100), start("7"), epoch(1, 10), failed("no space"))
    assert seen.goodput == (0, 110)


@pytest.mark.parametrize(
    ("events", "ended", "failure"),
    [
        ([start("7")], None, None),
        ([start("7"), failed("from 3", 3), failed("from 0"), failed("from 5", 5)], "failed", "from 0"),
        ([start("7"), failed("from 3", 3), failed("from 5", 5)], "failed", "from 3"),
        ([start("7"), failed("a loss is nan", 3), STOPPED], "failed", "a loss is nan"),
        ([start("7"), STOPPED, failed("another rank has died", 3)], "stopped", None),
        ([start("7"), failed("old"), start("7")], None, "old"),
        ([start("7"), failed("old"), start("7"), DONE], "done", "old"),
        ([start("7"), {"event": "cancelled", "user": "ada"}, STOPPED], "cancelled", None),
        ([{"event": "cancelled", "user": "ada"}], "cancelled", None),
        ([start("7"), {"event": "cancelled", "user": "ada"}, start("7")], None, None),
        ([start("7"), {"event": "cancelled", "user": "ada"}, DONE], "done", None),
    ],
)
def test_the_first_word_says_how_an_attempt_ended(
    tmp_path: Path, events: list[dict[str, object]], ended: str | None, failure: str | None
) -> None:
    seen = history(tmp_path, *events)
    assert (seen.ended, seen.failure) == (ended, failure)


@pytest.mark.parametrize(
    ("events", "tries"),
    [
        ([start("7")], 1),
        ([start("7"), start("7"), start("7")], 3),
        ([start("7"), failed("x"), failed("x", 1), start("7"), failed("x")], 2),
        ([start("7"), start("7"), saved(5)], 1),
        ([start("7"), saved(5), start("7"), start("7")], 3),
        ([start("7"), STOPPED, STOPPED, start("7"), STOPPED], 0),
        ([start("7"), failed("x"), STOPPED, start("7")], 2),
        ([start("7"), start("7"), DONE], 0),
        ([{**start("7"), "launch": "another1"}, {**start("7"), "launch": "another1"}, start("7")], 1),
        ([start("7"), {**start("7"), "launch": "another1"}], 0),
    ],
)
def test_tries_count_bad_ends_without_progress(tmp_path: Path, events: list[dict[str, object]], tries: int) -> None:
    assert history(tmp_path, *events).tries(toy.ID) == tries


def images(done: int, split: str = "train") -> dict[str, object]:
    return {"event": "images", "split": split, "done": done, "of": 900, "images_per_s": 9.0, "seconds_left": 1.0}


UNWARNED: dict[str, object] = {"event": "stopped", "reason": "asked to end", "warned": False}


def test_an_attempt_that_was_warned_does_not_count_one_that_was_not_does(tmp_path: Path) -> None:
    """Slurm ends the other ranks of a job in which one has died, and warns nobody."""
    assert history(tmp_path / "1", start("7"), {**STOPPED, "warned": True}).tries(toy.ID) == 0
    assert history(tmp_path / "2", start("7"), UNWARNED, start("7"), UNWARNED).tries(toy.ID) == 2


def test_whoever_got_further_than_those_before_made_progress(tmp_path: Path) -> None:
    """An attempt begins at the first image again, and passes quickly over what is kept."""
    further = [start("7"), images(300), start("7"), images(300), start("7"), images(100), images(400)]
    assert [history(tmp_path / str(n), *further[:n]).tries(toy.ID) for n in (2, 4, 6, 7)] == [1, 2, 3, 1]
    same = [*further, start("7"), images(400), failed("x"), start("7"), images(399)]
    assert (history(tmp_path / "same", *same).tries(toy.ID), history(tmp_path / "same").fruitless(toy.ID)) == (3, 2)


def test_attempts_without_progress_are_counted_whatever_ended_them(tmp_path: Path) -> None:
    fruitless = [start("7"), STOPPED, start("7"), failed("x"), start("7")]
    assert history(tmp_path / "1", *fruitless).fruitless(toy.ID) == 3
    assert history(tmp_path / "2", *fruitless, saved(5)).fruitless(toy.ID) == 0
    assert history(tmp_path / "3", *fruitless).fruitless("another1") == 0


def test_what_was_given_up_has_failed_for_that_reason(tmp_path: Path) -> None:
    seen = history(tmp_path, start("7"), STOPPED, {"event": "gave_up", "reason": "no space"})
    assert (seen.ended, seen.failure) == ("failed", "no space")


def test_the_failure_is_one_of_the_newest_launch(tmp_path: Path) -> None:
    seen = history(tmp_path, start("7"), failed("no space"), {**start("8"), "launch": "another1"}, STOPPED)
    assert seen.failure is None


def test_a_person_cancels_under_one_launch_and_may_launch_again(tmp_path: Path) -> None:
    seen = history(tmp_path, {"event": "cancelled", "user": "ada", "launch": toy.ID})
    assert seen.cancelled_in(toy.ID) and not seen.cancelled_in("another1")
    assert history(tmp_path, start("7"), {"event": "cancelled", "user": "ada"}).cancelled_in(toy.ID)


def test_half_lines_and_unknown_words_are_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.journal_path(toy.key("dense"))
    path.parent.mkdir()
    path.write_bytes(b'{"event": "novel", "time": 1}\n[1]\n\nnull\n{"event": "saved"}\n\xff\n')
    toy.tell(store, "dense", start("7"), {**epoch(1, 50), "event": "steps"})
    with open(path, "a") as file:
        file.write('{"event": "steps", "time": 5, "ep')  # the machine is switched off
    toy.tell(store, "dense", start("8"), {"event": "saved"}, {"event": "unsaved", "reason": "no space"})
    with open(path, "a") as file:
        file.write('{"event": "do')
    seen = read_history(path)
    assert [run.job for run in seen.runs] == ["7", "8"]
    assert [run.reached for run in seen.runs] == [50, None]


def test_a_journal_of_many_steps_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [{**epoch(1, n), "event": "steps"} for n in range(1, 100_001)]
    store = Store(tmp_path)
    toy.tell(store, "dense", start("7"), *steps, saved(100_000))
    parsed = []
    real = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or real(text))  # type: ignore[func-returns-value]
    seen = read_history(store.journal_path(toy.key("dense")))
    assert seen.goodput == (100_000, 100_000)
    assert seen.restart_seconds == [1.0]
    assert len(parsed) == 4
