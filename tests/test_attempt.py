"""How often a stage is tried, what of a bad end is told, and a store that is away for a while."""

import json
import time
from pathlib import Path

import pytest
import torch.distributed

from harness.attempt import MOST_FRUITLESS, Attempt, await_store, journalled, require_code, tried_again
from harness.data.digits import Digits
from harness.ending import Ending
from harness.errors import GaveUpError, StageError, Stopped, UserError
from harness.history import read_history
from harness.journal import Journal
from harness.stages.prepare import Prepare
from harness.store import Store
from harness.topology import Topology

STAGE = Prepare(source=Digits())
LAUNCH = "0a1b2c3d"
TRY = Attempt(job="7", restart=1, launch=LAUNCH, tries=3)
LOST = torch.distributed.DistBackendError("[Rank 1] Connection closed by peer [10.0.0.7]:1234")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.require_writable()
    store.write_specs([STAGE])
    return store


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every sleep of an attempt, which takes no time; the test may act in the place of one."""
    slept: list[float] = []
    now = time.monotonic()
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: now + sum(slept))
    return slept


def events(store: Store) -> list[dict[str, object]]:
    path = store.journal_path(STAGE.key)
    told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{name: value for name, value in event.items() if name != "time"} for event in told]


def fail(store: Store, times: int, launch: str | None = LAUNCH) -> None:
    journal = Journal(store.journal_path(STAGE.key))
    for number in range(times):
        attempt = Attempt(job="7", restart=number, launch=launch)
        journal.write("start", stage="prepare", ranks=1, **attempt.facts())
        journal.write("failed", kind="StageError", rank=0, reason=f"no space {number}", attempt=attempt.name)


def test_a_launch_gives_up_after_so_many_tries_and_says_why(store: Store) -> None:
    tries = Attempt(job="7", launch=LAUNCH, tries=3)
    fail(store, 2)
    tries.require_tries_left(STAGE, store)
    fail(store, 1)
    with pytest.raises(GaveUpError, match=f"^prepare {STAGE.key[:12]}: no space 0$"):
        tries.require_tries_left(STAGE, store)
    Attempt(job="8", launch="another1", tries=3).require_tries_left(STAGE, store)
    Attempt().require_tries_left(STAGE, store)


def test_attempts_that_died_without_a_word_count_too(store: Store) -> None:
    for _ in range(2):
        Journal(store.journal_path(STAGE.key)).write("start", stage="prepare", ranks=1, launch=LAUNCH)
    with pytest.raises(GaveUpError, match=r": 2 attempts ended without a word: see the logs of the job$"):
        Attempt(launch=LAUNCH, tries=2).require_tries_left(STAGE, store)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (StageError("the loss is nan"), {"kind": "StageError", "reason": "the loss is nan"}),
        (UserError("no such folder"), {"kind": "UserError", "reason": "no such folder"}),
        (OSError(28, "No space left on device"),
         {"kind": "StageError", "reason": "OSError: [Errno 28] No space left on device"}),
        (ZeroDivisionError("a defect"), {"kind": "ZeroDivisionError", "reason": "ZeroDivisionError: a defect"}),
        (LOST, {"kind": "StageError", "reason": "another rank has died, or kept this one waiting too long"
                " (see --patience): Connection closed by peer [10.0.0.7]:1234"}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_whichever_rank_meets_a_failure_writes_its_reason(
    store: Store, error: BaseException, event: dict[str, object]
) -> None:
    raised = StageError if event["kind"] == "StageError" else type(error)
    with pytest.raises(raised), journalled(STAGE, store, Topology(rank=1, world=2), Ending(), TRY):
        raise error
    (told,) = events(store)
    assert (told["rank"], told["attempt"]) == (1, "7.1")
    assert (told["event"], told["kind"]) == ("failed", event["kind"])
    assert str(told["reason"]).endswith(str(event["reason"]).rpartition(": ")[2])


@pytest.mark.parametrize(
    ("error", "reason", "warned"),
    [(Stopped("the time is over"), "the time is over", True), (SystemExit(143), "asked to end", False),
     (KeyboardInterrupt(), "asked to end", False)],
)  # fmt: skip
def test_that_an_attempt_is_stopped_rank_0_writes_and_no_other(
    store: Store, error: BaseException, reason: str, warned: bool
) -> None:
    """Who was not warned was perhaps ended by the death of another rank."""
    for rank in (1, 0):
        with pytest.raises(type(error)), journalled(STAGE, store, Topology(rank=rank, world=2), Ending(), TRY):
            raise error
    assert events(store) == [{"event": "stopped", "reason": reason, "warned": warned, "attempt": "7.1"}]


def test_a_rank_that_is_gone_while_all_are_to_end_is_no_failure(store: Store) -> None:
    ending = Ending()
    ending.reason = "the time is over"
    with pytest.raises(Stopped, match="the time is over"), journalled(STAGE, store, Topology(), ending, TRY):
        raise LOST
    assert events(store) == [{"event": "stopped", "reason": "the time is over", "warned": True, "attempt": "7.1"}]


def test_a_good_end_is_nothing_to_tell(store: Store) -> None:
    with journalled(STAGE, store, Topology(), Ending(), TRY):
        pass
    assert events(store) == []


@pytest.mark.parametrize(
    "error", [StageError("no space"), UserError("train.beton is damaged"), OSError("stale file handle")]
)
def test_a_job_of_a_launch_is_tried_again_a_command_by_hand_is_not(store: Store, error: Exception) -> None:
    again = pytest.raises(Stopped, match=rf"^{error}; the job is tried again$")
    with again, tried_again(Attempt(launch=LAUNCH, tries=3), store, [STAGE.key]):
        raise error
    with pytest.raises(type(error)), tried_again(Attempt(), store, [STAGE.key]):
        raise error


def test_what_is_given_up_is_written_down_for_whoever_asks_why(store: Store) -> None:
    fail(store, 3)
    with pytest.raises(GaveUpError):
        TRY.require_tries_left(STAGE, store)
    assert events(store)[-1] == {
        "event": "gave_up", "reason": "no space 2", "tries": 3, "launch": LAUNCH, "attempt": "7.1",
    }  # fmt: skip
    assert read_history(store.journal_path(STAGE.key)).failure == "no space 2"


def test_a_stage_that_a_person_cancelled_is_not_tried_under_that_launch(store: Store) -> None:
    Journal(store.journal_path(STAGE.key)).write("cancelled", user="bo", launch=LAUNCH)
    with pytest.raises(GaveUpError, match=rf"^prepare {STAGE.key[:12]}: cancelled by bo$"):
        TRY.require_tries_left(STAGE, store)
    Attempt(job="8", launch="another1").require_tries_left(STAGE, store)


def test_attempts_that_never_get_anywhere_come_to_an_end_though_all_were_warned(store: Store) -> None:
    """A stage that cannot reach its first checkpoint within a job's time limit."""
    journal = Journal(store.journal_path(STAGE.key))
    for number in range(MOST_FRUITLESS):
        TRY.require_tries_left(STAGE, store)
        journal.write("start", stage="prepare", ranks=1, **Attempt("7", number, LAUNCH).facts())
        journal.write("stopped", reason="the time is over", warned=True, attempt=f"7.{number}")
    with pytest.raises(GaveUpError, match=r": 10 attempts were ended before they got anywhere$"):
        TRY.require_tries_left(STAGE, store)


def test_a_job_whose_stages_hardly_ever_begin_is_given_up(store: Store) -> None:
    """What ends it before its stages, no journal of theirs tells: Slurm counts."""
    fail(store, 2)
    Attempt("7", MOST_FRUITLESS + 1, LAUNCH).require_starts(store, [STAGE.key])
    often = Attempt("7", MOST_FRUITLESS + 2, LAUNCH)
    words = r"^the job was started 12 times and began 2 times: see its log$"
    with pytest.raises(GaveUpError, match=words), tried_again(often, store, [STAGE.key]):
        pytest.fail("it ran")


def test_giving_up_is_final(store: Store) -> None:
    with pytest.raises(GaveUpError), tried_again(Attempt(launch=LAUNCH), store, [STAGE.key]):
        raise GaveUpError("failed 3 times")


def test_a_store_that_is_away_for_a_moment_is_waited_for(
    store: Store, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = store.root.rename(store.root.with_name("away"))

    def come_back(seconds: float) -> None:
        clock.append(seconds)
        if len(clock) == 3:
            for made in sorted(store.root.rglob("*"), reverse=True):  # an empty mount point
                made.rmdir()
            if store.root.exists():
                store.root.rmdir()
            away.rename(store.root)

    monkeypatch.setattr(time, "sleep", come_back)
    await_store(store, [STAGE.key])
    assert len(clock) == 3
    assert store.read_spec(STAGE.key) == STAGE


def test_a_store_that_stays_away_is_said_and_nothing_is_made_in_its_place(store: Store, clock: list[float]) -> None:
    store.root.rename(store.root.with_name("away"))
    with pytest.raises(Stopped, match=rf"^{store.root}/specs is not there: is the store mounted\?; waited 30 s$"):
        await_store(store, [STAGE.key], patience_s=30)
    assert 30 <= sum(clock) <= 32
    assert not store.root.exists()


def test_while_the_store_is_away_a_failure_waits_for_it_before_the_next_try(
    store: Store, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def come_back(seconds: float) -> None:
        clock.append(seconds)
        store.root.with_name("away").rename(store.root)

    monkeypatch.setattr(time, "sleep", come_back)
    again = pytest.raises(Stopped, match=r"^cannot read the images; the job is tried again$")
    with again, tried_again(Attempt(launch=LAUNCH), store, [STAGE.key]):
        store.root.rename(store.root.with_name("away"))
        raise StageError("cannot read the images")
    assert len(clock) == 1


def test_a_job_runs_no_other_code_than_it_was_submitted_with(tmp_path: Path) -> None:
    require_code(Path(__file__).parents[1])
    with pytest.raises(Stopped, match=rf"^the job's code is {tmp_path}, but .* was found: is the store there\?"):
        require_code(tmp_path)


def test_the_journal_names_machine_job_and_launch(store: Store) -> None:
    fail(store, 1)
    (run,) = read_history(store.journal_path(STAGE.key)).runs
    assert (run.job, run.launch) == ("7", LAUNCH)
    assert run.host
