"""What Slurm says is waiting and running: one question for all jobs.

Lives here: asking squeue, which job runs which stage, taking jobs back. Must not: submitting
(`harness.executors.slurm`), accounting (many sites have none, and its database is slow).
"""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from harness.errors import UserError
from harness.launches import Launch

QUERY_SECONDS = 60
CANCEL_AT_ONCE = 500
FIELDS = "%i|%j|%T|%D|%r|%u"


@dataclass(frozen=True)
class Queued:
    """A job that has not ended, or one task of an array."""

    job: str
    """`123`, or `123_4` for a task of an array."""
    name: str
    state: str
    """PENDING, RUNNING, COMPLETING, ..."""
    nodes: int
    reason: str
    """Why it waits: Priority, Dependency, DependencyNeverSatisfied, ..."""
    user: str


def ask_queue() -> list[Queued]:
    """Every unfinished job of ours, of all users that this one may see. Raises UserError if squeue does not answer."""
    return read_queue(query("squeue", "-h", "-r", "-o", FIELDS))


def read_queue(answer: str) -> list[Queued]:
    """Our jobs among those that squeue listed with `FIELDS`."""
    ours = (line.split("|") for line in answer.splitlines() if line.partition("|")[2].startswith("harness-"))
    return [Queued(job, name, state, int(nodes), reason, user) for job, name, state, nodes, reason, user in ours]


def jobs_by_key(launches: Iterable[Launch], queue: Iterable[Queued]) -> dict[str, Queued]:
    """The queued job of each stage that has one. A job that runs goes before one that waits."""
    jobs = {job.name: job for launch in launches for job in launch.jobs}
    found: dict[str, Queued] = {}
    for queued in queue:
        if (job := jobs.get(queued.name)) is None:
            continue
        index = int(queued.job.partition("_")[2]) if job.array else 0
        for key in job.tasks[index] if job.tasks else ():
            if key not in found or found[key].state == "PENDING":
                found[key] = queued
    return found


def query(*command: str) -> str:
    """The output of a Slurm command. Raises UserError with its own last line if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{command[0]} does not answer: {error}") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"{command[0]} failed: {reason}")
    return done.stdout


def cancel(jobs: Iterable[str], *, pending_only: bool = False) -> None:
    """Take jobs out of the queue. Raises UserError with scancel's own words if it refuses."""
    ids = sorted(set(jobs))
    options = ["--state=PENDING"] if pending_only else []
    for first in range(0, len(ids), CANCEL_AT_ONCE):
        query("scancel", *options, *ids[first : first + CANCEL_AT_ONCE])


def cancel_pending(jobs: Iterable[str]) -> None:
    """Take waiting jobs out of the queue; those that have started meanwhile stay."""
    cancel(jobs, pending_only=True)
