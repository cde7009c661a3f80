"""What goes wrong on a cluster, done to a running job of the test cluster on purpose.

Lives here: one function for each kind of fault, telling what Slurm is seen to do about it. Must not: jobs, or what the
harness should do about it.

Each function injects a fault at once and returns what heals it, to be called once. A job that Slurm puts back into the
queue starts again 6 s later at the earliest, keeps its id, and counts Restarts up.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.cluster.slurm import NODES, SHARED_MIB, Process, SlurmCluster

Heal = Callable[[], object]


@dataclass(frozen=True)
class Victim:
    """A running job, and the one of its ranks that is hit, with its node, where a fault hits only one."""

    cluster: SlurmCluster
    job: str
    """`123`, or `123_4` for one task of an array."""
    rank: int = 0

    def process(self) -> Process:
        """The rank as it runs now. Raises LookupError if it does not."""
        found = [process for process in self.cluster.ranks(self.job) if process.rank == self.rank]
        if not found:
            raise LookupError(f"job {self.job} runs no rank {self.rank}")
        return found[0]


def tell_time_is_up(victim: Victim) -> Heal:
    """What Slurm does ahead of a time limit, without the limit: the ranks get the signal of `--signal=USR2@N`."""
    with suppress(subprocess.TimeoutExpired):  # soon after a controller's start scancel may repeat what it has done
        victim.cluster.run(["scancel", "--signal=USR2", victim.job], timeout=5)
    return _nothing


def time_out(victim: Victim) -> Heal:
    """The time limit comes near: 30 to 90 s are left, from now on in every attempt until healed.

    Slurm looks every 30 s and sends the signal of `--signal=USR2@N` to the ranks up to 30 s early, or at its next look
    if less than N is left. At the limit, again up to 30 s late, come TERM and 3 s later KILL, to the batch script too:
    the job ends as TIMEOUT and is not requeued.
    """
    listing = ["squeue", "--noheader", f"--jobs={victim.job}", "--format=%S %l"]
    started, limit = _ask(victim.cluster, *listing).split()
    elapsed = (datetime.now() - datetime.fromisoformat(started)).total_seconds()
    change = ["scontrol", "update", f"JobId={victim.job}"]
    _ask(victim.cluster, *change, f"TimeLimit={int(elapsed + 90) // 60}")
    return lambda: victim.cluster.run([*change, f"TimeLimit={limit}"])  # refused if the job is over: all is well then


def end_time(victim: Victim) -> Heal:
    """The time limit is reached now, as for a rank that does not heed its signal.

    At its next look, up to 30 s later, Slurm sends the signal and TERM together, and 3 s later KILL, to the batch
    script too: the job ends as TIMEOUT and is not requeued.
    """
    _ask(victim.cluster, "scontrol", "update", f"JobId={victim.job}", "EndTime=now")
    return _nothing


def preempt(victim: Victim) -> Heal:
    """An urgent job takes the node of the rank, whole, and keeps it until healed: the job is requeued.

    From `main`: the ranks get the user's signal if the job named one with --signal, and TERM else; KILL follows after
    3 s; the urgent job starts within about 2 s. From `grace`: the same signal, and then `GRACE_SECONDS` to end in.
    """
    urgent = victim.cluster.preempt(victim.process().node)
    return lambda: _ask(victim.cluster, "scancel", urgent)


def requeue(victim: Victim) -> Heal:
    """A person requeues the job: TERM, after 3 s KILL, PENDING within a second."""
    _ask(victim.cluster, "scontrol", "requeue", victim.job)
    return _nothing


def cancel(victim: Victim) -> Heal:
    """A person cancels the job or the task: TERM, after 3 s KILL, to ranks and batch script at once; it is over.

    The lines that follow srun in the batch script do not run, unless it traps TERM.
    """
    _ask(victim.cluster, "scancel", victim.job)
    return _nothing


def kill_rank(victim: Victim) -> Heal:
    """One rank is killed: srun gives the others TERM at once, KILL later, and ends with 137."""
    os.kill(victim.process().pid, signal.SIGKILL)
    return _nothing


def kill_all_ranks(victim: Victim) -> Heal:
    """All ranks are killed, as by an out-of-memory killer: srun ends with 137."""
    for process in victim.cluster.ranks(victim.job):
        os.kill(process.pid, signal.SIGKILL)
    return _nothing


def hang_rank(victim: Victim) -> Heal:
    """One rank stops without ending. Slurm does not notice."""
    pid = victim.process().pid
    os.kill(pid, signal.SIGSTOP)

    def go_on() -> None:
        with suppress(ProcessLookupError):  # somebody lost patience
            os.kill(pid, signal.SIGCONT)

    return go_on


def fail_node(victim: Victim) -> Heal:
    """The rank's node loses its power. After about 30 s Slurm calls it down and requeues the job."""
    node = victim.process().node
    victim.cluster.fail_node(node)
    return lambda: victim.cluster.revive_node(node)


def cut_link(victim: Victim) -> Heal:
    """The rank's node loses its link, while its ranks live on and reach the store.

    Healed within seconds, nothing happens to the job. Otherwise, after about 30 s, Slurm calls the node down, requeues
    the job, gives TERM to ranks elsewhere and starts the job on other nodes: two attempts write. After the healing the
    old ranks are killed as soon as the node is asked again, at once or after more than half a minute.
    """
    node = victim.process().node
    victim.cluster.cut_link(node)
    return lambda: victim.cluster.heal_link(node)


def restart_controller(victim: Victim) -> Heal:
    """slurmctld stops in order and comes back a second later; jobs run on, none starts for about 4 s."""
    victim.cluster.restart_controller()
    return _nothing


def fill_disk(victim: Victim) -> Heal:
    """The shared file system is full, as long as nothing is removed from it."""
    shared = victim.cluster.shared

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(shared)], check=True)

    disk = os.statvfs(shared)
    resize(max(disk.f_blocks - disk.f_bfree, 1) * disk.f_frsize)
    return lambda: resize(SHARED_MIB << 20)


def make_read_only(victim: Victim) -> Heal:
    """Every node sees the shared file system read-only. What is open for writing already stays so."""
    shared = shlex.quote(str(victim.cluster.shared))
    return _cover(victim.cluster, f"mount --bind {shared} {shared} && mount -o remount,bind,ro {shared}")


def vanish(victim: Victim) -> Heal:
    """Every node has lost the shared file system: an empty folder, read-only, is in its place.

    What a process has open, its working directory too, stays; a real network file system might block there, or fail.
    """
    return _cover(victim.cluster, f"mount -t tmpfs -o ro gone {shlex.quote(str(victim.cluster.shared))}")


def damage_checkpoint(unfinished: Path) -> Heal:
    """One bit in the middle of the stage's newest checkpoint has changed; there is no way back."""
    with open(_newest_tensors(unfinished), "r+b") as file:
        middle = file.seek(0, os.SEEK_END) // 2
        file.seek(middle)
        byte = file.read(1)[0]
        file.seek(middle)
        file.write(bytes([byte ^ 1]))
    return _nothing


def truncate_checkpoint(unfinished: Path) -> Heal:
    """The stage's newest checkpoint ends in the middle; there is no way back."""
    tensors = _newest_tensors(unfinished)
    os.truncate(tensors, tensors.stat().st_size // 2)
    return _nothing


def wrong_clock(victim: Victim, hours: int = 1) -> Heal:
    """The clock of the rank's node jumps by so many hours, for Python's `time.time`; see clock/sitecustomize.py."""
    note = victim.cluster.clocks / victim.process().node
    note.write_text(str(hours * 3600))
    return note.unlink


def _nothing() -> None:
    """Heals what needs no healing."""


def _ask(cluster: SlurmCluster, *command: str) -> str:
    answer = cluster.run(command)
    if answer.returncode:
        raise RuntimeError(f"{' '.join(command)}: {answer.stderr.strip()}")
    return answer.stdout.strip()


def _cover(cluster: SlurmCluster, mount: str) -> Heal:
    """Mount something over the shared file system on every node; the healing takes it off again."""
    for node in NODES:
        cluster.inside(node, ["sh", "-c", mount]).check_returncode()

    def uncover() -> None:
        for node in NODES:
            cluster.inside(node, ["umount", "--lazy", str(cluster.shared)]).check_returncode()

    return uncover


def _newest_tensors(unfinished: Path) -> Path:
    newest = max(int(folder.name) for folder in unfinished.iterdir() if folder.name.isdigit())
    return unfinished / str(newest) / "tensors.safetensors"
