"""A lock over hosts and over NFS: one owner at a time, whose death is noticed, and whose late return is too.

Lives here: owners, taking a lock, keeping it, taking it over. Must not: what is locked; a clock compared with another.

A lock is a folder of numbered files. The highest number names the owner; all lower ones are void. Numbers only grow:
the highest is never removed, so nobody who looked long ago can mistake an old owner's file for a new one's.

* Take: write a draft, `link` it to the next number. A link replaces nothing, so one of many wins. Whoever then reads
  its own token in the highest has won; what `link` returned is not asked, for over NFS it may fail and have succeeded.
* Beat: touch the own file every BEAT_S, through an open descriptor. That reaches this one file whatever its name has
  become, so a beat that comes late, after a take-over, changes nothing that counts.
* Watch: an owner is dead if its process is gone from this machine, if it is an earlier start of the same Slurm job, or
  if its file did not change for LEASE_S. A time is compared only with itself, and silence is counted in looks, not in
  seconds: a store that hangs for the owner and the watcher alike counts as one look. An owner is alive once its file
  changes, so a refusal takes up to BEAT_S.
* Take over: take the next number. Release: set the own file's time to 0, again through the descriptor.
* Fence: an owner that was paused asks `Lease.require` before it publishes. The instant between the two is left to
  publishing, which never replaces what is there.

Opening is what makes an NFS client ask its server, so every look opens the folder and the file anew.
"""

import dataclasses
import errno
import getpass
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.errors import StageError, UserError
from harness.topology import slurm_job, slurm_restarts

BEAT_S = 5.0
LEASE_S = 30.0
_LOOKS_A_BEAT = 5
_GONE = (errno.ENOENT, errno.ESTALE)  # what it looked at was removed in the meantime: look again
_NO_LOCK = (errno.ELOOP, errno.EEXIST, errno.ENOTDIR, errno.EACCES)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that has a lock, or had it."""

    host: str
    boot: str
    """Where the process id means something: one boot of one machine, one container's processes."""
    pid: int
    started: int
    """In clock ticks since the machine's boot: a process id is used again, with another start."""
    job: str | None
    """Slurm's `123` or `123_4`; the same when the job is requeued."""
    restart: int
    """How often Slurm has started the job again."""
    user: str
    since: float
    """Unix time, by the owner's own clock: for people only."""
    token: str

    @classmethod
    def this_process(cls) -> Self:
        """Who would take a lock now; each call has its own token."""
        return cls(
            host=socket.gethostname(),
            boot=_boot(),
            pid=os.getpid(),
            started=_process(os.getpid())[1],
            job=slurm_job(),
            restart=slurm_restarts(),
            user=user_name(),
            since=time.time(),
            token=secrets.token_hex(16),
        )

    def __str__(self) -> str:
        job = f"job {self.job} on {self.host}" if self.job else f"process {self.pid} on {self.host}"
        return f"{job} of {self.user} since {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.since))}"

    def is_dead(self, seen_by: Self) -> bool:
        """Whether it is certain, without any waiting, that this owner will not come back."""
        if self.job is not None and self.job == seen_by.job and self.restart < seen_by.restart:
            return True
        return (self.host, self.boot) == (seen_by.host, seen_by.boot) and not _lives(self.pid, self.started)


class Lease:
    """A lock that is held, for as long as nobody takes it over."""

    def __init__(self, lock: Path, what: str, owner: Owner) -> None:
        self.lost = threading.Event()
        """Set at the latest one beat after this process, once it runs, can read that another one took over."""
        self._lock, self._what, self._owner = lock, what, owner

    def require(self) -> None:
        """Read the lock anew. Raises StageError if it is another's by now, or cannot be read: publish nothing then."""
        try:
            newest = self._read()
        except OSError as error:
            raise StageError(f"{self._what}: no look at its lock ({error}): nothing is published") from error
        if self.lost.is_set():
            taker = newest.owner or "another process"
            raise StageError(f"{self._what} was taken over by {taker}: nothing is published")

    def keep(self, file: int, released: threading.Event) -> None:
        """Beat until released or lost. A beat that fails, while the store is away or full, is made up by the next."""
        while not (released.wait(BEAT_S) or self.lost.is_set()):
            with suppress(OSError):
                os.utime(file)
            with suppress(OSError):
                self._read()

    def _read(self) -> "_Newest":
        newest = _look(self._lock)
        if not newest.is_of(self._owner):
            self.lost.set()
        return newest


@contextmanager
def hold(lock: Path, what: str, *, wait_s: float = 0.0) -> Iterator[Lease]:
    """Have the lock, a folder that is made if needed, inside the `with`; `what` it keeps is for messages.

    Waits up to `wait_s` for a live owner to let go, and up to LEASE_S more to see that a silent one is dead.
    Raises UserError if a live owner keeps it, or if it is no folder to write in; OSError if the store is full or away.
    """
    me = Owner.this_process()
    try:
        file = _take(lock, what, me, wait_s)
    except OSError as error:
        if error.errno not in _NO_LOCK:
            raise
        raise UserError(
            f"cannot lock {what}: {error.strerror}: {error.filename}; {lock} must be a folder that everybody who"
            " launches can write: delete what is there instead, or let its owner share it"
        ) from error
    lease, released = Lease(lock, what, me), threading.Event()
    beating = threading.Thread(target=lease.keep, args=(file, released), name=f"lease of {what}", daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        released.set()
        beating.join()
        with suppress(OSError):
            os.utime(file, ns=(0, 0))
        os.close(file)


def owner_of(lock: Path) -> Owner | None:
    """Who has the lock, as far as one look tells; one that died on another host cannot be told from one that lives.

    None if it is free, its owner is certainly dead, or its file does not say. Raises OSError if the store is away.
    """
    me = Owner.this_process()
    while lock.exists():
        try:
            newest = _look(lock)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            continue
        return None if newest.is_free(me) else newest.owner
    return None


@dataclass(frozen=True)
class _Newest:
    """The highest number of a lock, as it looked at one instant."""

    number: int = 0
    beat: int = 0
    """Modification time in ns; 0 if it is released."""
    owner: Owner | None = None
    """None if the file does not say."""

    def is_of(self, owner: Owner) -> bool:
        return self.owner is not None and self.owner.token == owner.token

    def is_free(self, seen_by: Owner) -> bool:
        return self.beat == 0 or (self.owner is not None and self.owner.is_dead(seen_by))


def _take(lock: Path, what: str, me: Owner, wait_s: float) -> int:
    """The descriptor of our file in the lock, once it is the highest."""
    give_up = time.monotonic() + wait_s
    pause = BEAT_S / _LOOKS_A_BEAT
    last: _Newest | None = None
    quiet = 0
    while True:
        try:
            newest = _look(_folder(lock))
            if newest.is_of(me):
                _clear(lock, newest.number)
                return os.open(lock / str(newest.number), os.O_RDONLY | os.O_NOFOLLOW)
            quiet = quiet + 1 if newest == last else 0
            if newest.is_free(me) or quiet * pause >= LEASE_S:
                _claim(lock / str(newest.number + 1), me)
                continue
        except OSError as error:
            if error.errno not in _GONE:
                raise
        else:
            if quiet == 0 and last is not None and time.monotonic() >= give_up:
                raise UserError(_refusal(what, newest.owner))
            last = newest
        time.sleep(pause)


def _folder(lock: Path) -> Path:
    if lock.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link", str(lock))
    lock.mkdir(parents=True, exist_ok=True)
    return lock


def _look(lock: Path) -> _Newest:
    """What the lock is now. Raises OSError, of _GONE if a higher number came while it was read."""
    number = max((int(name) for name in os.listdir(lock) if name.isdecimal()), default=0)
    if number == 0:
        return _Newest()
    with open(os.open(lock / str(number), os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        text, beat = file.read(), os.fstat(file.fileno()).st_mtime_ns
    try:
        return _Newest(number, beat, Owner(**json.loads(text)))
    except (ValueError, TypeError):
        return _Newest(number, beat)


def _claim(path: Path, me: Owner) -> None:
    """Try to make this number ours, with content and all; the next look says whether it is."""
    draft = path.with_name(f".{me.token}")
    try:
        _write(draft, me)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links; others may see the file empty for an instant, owner unknown
            with suppress(FileExistsError):
                _write(path, me)
    finally:
        draft.unlink(missing_ok=True)


def _write(path: Path, me: Owner) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "w") as file:
        file.write(json.dumps(dataclasses.asdict(me)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _clear(lock: Path, number: int) -> None:
    """Remove what is void: lower numbers, and drafts, whose writers have lost to us or fall back on `_write`."""
    for name in os.listdir(lock):
        if name.startswith(".") or (name.isdecimal() and int(name) < number):
            with suppress(OSError):
                os.unlink(lock / name)


def _refusal(what: str, owner: Owner | None) -> str:
    remedy = "when that has ended, the same command does what is missing"
    if owner is None:
        return f"{what} is held by another process: {remedy}"
    end = f"scancel {owner.job}" if owner.job else f"kill {owner.pid} on {owner.host}"
    return f"{what} is held by {owner}: {remedy} (to end it: {end})"


def _lives(pid: int, started: int) -> bool:
    """Whether this process of this machine still runs; yes if that is kept secret, as /proc may for other users'."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    state, start = _process(pid)
    return state == "?" or (start == started and state not in "ZX")


def _process(pid: int) -> tuple[str, int]:
    """State and start of a process, as in proc(5); `?` and 0 if the system does not say."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "?", 0
    return facts[0], int(facts[19])


def _boot() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return secrets.token_hex(16)  # equal to no other's: only silence counts


def user_name() -> str:
    """Who runs this process, also where nobody knows the name."""
    try:
        return getpass.getuser()
    except KeyError:  # a container whose password file does not know us
        return str(os.getuid())
