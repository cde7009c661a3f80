"""One owner at a time, whoever is killed, paused, elsewhere or an hour ahead."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from harness import lease
from harness.errors import StageError, UserError
from harness.lease import Owner, hold, owner_of

ROOT = Path(__file__).parents[1]
HOUR_NS = 3600 * 10**9


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "k"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.05)
    monkeypatch.setattr(lease, "LEASE_S", 0.6)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody waits in this test until an owner was silent for long enough."""
    monkeypatch.setattr(lease, "LEASE_S", 10.0)
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 10.0


def left(lock: Path, **facts: Any) -> Path:
    """What an owner that is no more left behind: of this process but for the facts given."""
    lock.mkdir(parents=True)
    (lock / "1").write_text(json.dumps(asdict(replace(Owner.this_process(), **facts))))
    return lock / "1"


ELSEWHERE = {"host": "n3", "boot": "another"}


@contextmanager
def seconds(*, least: float = 0.0) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start >= least


def take(lock: Path) -> None:
    with hold(lock, "train 0123") as mine:
        mine.require()


def failing(code: int) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return fail


@contextmanager
def process(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock; at a line on its stdin it asks `require` and goes."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, lock], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "in\n"
        try:
            yield owner
        finally:
            owner.kill()


OWNER = """
import sys
from pathlib import Path
from harness import errors, lease
lease.BEAT_S, lease.LEASE_S = 0.05, 0.6
with lease.hold(Path(sys.argv[1]), "train 0123") as mine:
    print("in", flush=True)
    sys.stdin.readline()
    try:
        mine.require()
    except errors.StageError as error:
        print(mine.lost.is_set(), error)
"""


def test_a_live_owner_is_named_and_how_to_end_it(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "n7")
    monkeypatch.setenv("LOGNAME", "ana")
    with hold(lock, "train 0123"):
        with pytest.raises(UserError) as refused, hold(lock, "train 0123"):
            pass
        text = str(refused.value)
        assert text.startswith(f"train 0123 is held by process {os.getpid()} on n7 of ana since 20")
        assert f"kill {os.getpid()} on n7" in text
        assert "\n" not in text


def test_an_owner_that_is_a_job_is_named_by_it(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_job(monkeypatch, restart=0)
    with hold(lock, "train 0123"), pytest.raises(UserError, match=r"job 12_4 on .*scancel 12_4"), hold(lock, "it"):
        pass


def test_a_look_tells_who_has_a_lock_as_far_as_it_is_certain(lock: Path) -> None:
    assert owner_of(lock) is None
    with process(lock) as other:
        owner = owner_of(lock)
        assert owner is not None and owner.pid == other.pid
        other.kill()
        other.wait()
        assert owner_of(lock) is None
    take(lock)
    assert owner_of(lock) is None
    assert [path.name for path in lock.iterdir()] == ["2"], "looking leaves nothing"


def test_an_owner_elsewhere_may_live(lock: Path) -> None:
    left(lock, **ELSEWHERE)
    owner = owner_of(lock)
    assert owner is not None and owner.host == "n3"


def test_what_was_let_go_is_free_at_once_and_leaves_one_file(lock: Path, at_once: None) -> None:
    for _ in range(3):
        take(lock)
    assert [path.name for path in lock.iterdir()] == ["3"]


def test_whoever_comes_second_waits_for_the_first(lock: Path, at_once: None) -> None:
    with process(lock) as owner:
        assert owner.stdin is not None
        later = threading.Timer(0.3, owner.stdin.close)
        later.start()
        with seconds(least=0.3), hold(lock, "the launch", wait_s=30):
            pass
        later.join()


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_owner_of_this_host_is_taken_over_at_once(lock: Path, at_once: None, reaped: bool) -> None:
    with process(lock) as owner:
        owner.kill()
        if reaped:
            owner.wait()
        take(lock)


def test_another_process_with_the_same_id_is_not_the_owner(lock: Path, at_once: None) -> None:
    left(lock, started=1)
    take(lock)


def test_a_process_that_the_system_hides_may_live(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left(lock, started=1)
    monkeypatch.setattr(os, "kill", failing(errno.EPERM))
    with seconds(least=0.6):
        take(lock)


@pytest.mark.parametrize("clock", [-HOUR_NS, HOUR_NS])
def test_a_dead_owner_elsewhere_is_taken_over_after_the_lease(lock: Path, clock: int) -> None:
    now = time.time_ns() + clock
    os.utime(left(lock, **ELSEWHERE), ns=(now, now))
    with seconds(least=0.6):
        take(lock)


@pytest.mark.parametrize("clock", [-HOUR_NS, HOUR_NS])
def test_an_owner_elsewhere_that_beats_is_never_taken_over(
    lock: Path, clock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.utime
    with monkeypatch.context() as there:
        there.setattr(lease, "_boot", lambda: "another")
        there.setattr(os, "utime", lambda file, ns=None: real(file, ns=ns or (0, time.time_ns() + clock)))
        with hold(lock, "train 0123") as mine:
            with seconds(least=1.2), pytest.raises(UserError, match="is held by"), hold(lock, "it", wait_s=1.2):
                pass
            mine.require()


@pytest.mark.parametrize("content", [b"", b"\0\xff\0", b"[3]", b'{"host": "n3"}'])
def test_a_damaged_lock_has_an_owner_of_whom_nothing_is_known(lock: Path, content: bytes) -> None:
    lock.mkdir(parents=True)
    (lock / "1").write_bytes(content)
    with seconds(least=0.6):
        take(lock)


def as_job(monkeypatch: pytest.MonkeyPatch, restart: int) -> None:
    names = {"HARNESS_MASTER": "n1", "SLURM_JOB_ID": "16", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "4"}
    for name, value in {**names, "SLURM_RESTART_COUNT": str(restart)}.items():
        monkeypatch.setenv(name, value)


def test_a_requeued_job_takes_over_from_its_earlier_start_at_once(
    lock: Path, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    left(lock, **ELSEWHERE, job="12_4", restart=1)
    as_job(monkeypatch, restart=2)
    take(lock)


@pytest.mark.parametrize(("job", "restart"), [("12_4", 2), ("12_5", 1), (None, 0)])
def test_any_other_start_of_a_job_has_to_be_silent_first(
    lock: Path, monkeypatch: pytest.MonkeyPatch, job: str | None, restart: int
) -> None:
    left(lock, **ELSEWHERE, job=job, restart=restart)
    as_job(monkeypatch, restart=2)
    with seconds(least=0.6):
        take(lock)


def test_an_owner_that_wakes_up_too_late_publishes_and_releases_nothing(lock: Path) -> None:
    with process(lock) as owner:
        owner.send_signal(signal.SIGSTOP)
        with seconds(least=0.6), hold(lock, "train 0123") as mine:
            owner.send_signal(signal.SIGCONT)
            told, _ = owner.communicate("go on\n", timeout=30)
            assert told.startswith(f"True train 0123 was taken over by process {os.getpid()} on ")
            assert told.endswith(": nothing is published\n")
            mine.require()
            with pytest.raises(UserError, match="is held by"), hold(lock, "train 0123"):
                pass


def test_a_take_over_is_noticed_without_asking_and_no_late_beat_keeps_the_taker_alive(lock: Path) -> None:
    taker = lock.parent / "taker"
    with hold(lock, "train 0123") as mine:
        assert not mine.lost.wait(0.2)
        taker.write_text("somebody")
        os.utime(taker, ns=(HOUR_NS, HOUR_NS))
        taker.rename(lock / "2")
        assert mine.lost.wait(30)
        with pytest.raises(StageError, match="train 0123 was taken over by another process: nothing is published"):
            mine.require()
    assert (lock / "2").stat().st_mtime_ns == HOUR_NS


def test_a_lock_that_cannot_be_read_protects_nothing(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold(lock, "train 0123") as mine, monkeypatch.context() as away:
        away.setattr(os, "listdir", failing(errno.EIO))
        with pytest.raises(StageError, match=r"no look at its lock .*nothing is published"):
            mine.require()
        assert not mine.lost.wait(0.2)


def test_beats_go_on_when_the_store_is_back(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold(lock, "train 0123") as mine:
        with monkeypatch.context() as away:
            away.setattr(os, "utime", failing(errno.EROFS))
            away.setattr(os, "listdir", failing(errno.EROFS))
            time.sleep(0.2)
            last = (lock / "1").stat().st_mtime_ns
            time.sleep(0.2)
            assert (lock / "1").stat().st_mtime_ns == last
        with pytest.raises(UserError, match="is held by"), hold(lock, "train 0123"):
            pass
        mine.require()


@pytest.mark.parametrize("code", [errno.EEXIST, errno.EIO])
def test_a_link_may_succeed_and_say_that_it_failed(
    lock: Path, monkeypatch: pytest.MonkeyPatch, at_once: None, code: int
) -> None:
    real, fail = os.link, failing(code)

    def link(*paths: Path) -> None:
        real(*paths)
        fail()

    monkeypatch.setattr(os, "link", link)
    take(lock)


def test_a_file_system_needs_no_links(lock: Path, monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    with hold(lock, "train 0123"), pytest.raises(UserError, match="is held by process"), hold(lock, "train 0123"):
        pass
    take(lock)


def test_a_store_that_fails_is_no_fault_of_the_user(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        take(lock)
    assert list(lock.iterdir()) == []


@pytest.mark.parametrize("place", ["lock", "file"])
def test_a_symbolic_link_is_refused(lock: Path, tmp_path: Path, place: str) -> None:
    lock.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if place == "lock":
        lock.symlink_to(elsewhere)
    else:
        lock.mkdir()
        (lock / "1").symlink_to(elsewhere / "file")
    with pytest.raises(UserError, match=r"cannot lock train 0123: .*symbolic link.* must be a folder"):
        take(lock)
    assert list(elsewhere.iterdir()) == []


def test_a_file_in_place_of_the_lock_is_refused(lock: Path) -> None:
    lock.parent.mkdir()
    lock.touch()
    with pytest.raises(UserError, match="cannot lock train 0123: File exists"):
        take(lock)


def test_many_that_watch_a_dead_owner_take_over_one_after_the_other(lock: Path) -> None:
    left(lock, **ELSEWHERE)
    inside, together, done = threading.Lock(), [], []

    def work() -> None:
        with hold(lock, "train 0123", wait_s=60) as mine:
            together.append(not inside.acquire(blocking=False))
            time.sleep(0.02)
            mine.require()
            inside.release()
        done.append(True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [False] * 8
    assert len(done) == 8


def test_never_two_inside_though_some_are_killed(lock: Path, tmp_path: Path) -> None:
    """Four processes take the lock a hundred times each; an alarm kills each twice, wherever it is then."""
    section, deaths = tmp_path / "section", [0] * 4
    logs = [tmp_path / f"{number}.log" for number in range(4)]
    running = {number: start(lock, section, logs[number], seed=number) for number in range(4)}
    while running:
        time.sleep(0.01)
        for number, worker in list(running.items()):
            if (code := worker.poll()) is None:
                continue
            del running[number]
            if code == -signal.SIGALRM:
                deaths[number] += 1
                running[number] = start(lock, section, logs[number], seed=number + 4 if deaths[number] < 2 else -1)
            else:
                assert code == 0, "two were inside, or one failed"
    assert deaths == [2] * 4, "nobody was killed: the test tests less than it says"
    assert [len(log.read_text()) for log in logs] == [100] * 4


def start(lock: Path, section: Path, log: Path, seed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, lock, section, log, str(seed)], cwd=ROOT)


WORKER = """
import os, random, signal, sys
from pathlib import Path
from harness import lease
lease.BEAT_S, lease.LEASE_S = 0.05, 20
lock, section, log = map(Path, sys.argv[1:4])
if (seed := int(sys.argv[4])) >= 0:
    signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(0.1, 0.4))
log.touch()
while len(log.read_text()) < 100:
    with lease.hold(lock, "it", wait_s=60):
        try:
            section.symlink_to(str(os.getpid()))
        except FileExistsError:
            other = int(os.readlink(section))
            if lease._lives(other, lease._process(other)[1]):
                sys.exit("two are inside")
            section.unlink()
            section.symlink_to(str(os.getpid()))
        with open(log, "a") as file:
            file.write(".")
        section.unlink()
"""
