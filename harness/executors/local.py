"""Runs a plan on this machine: through submitit, in one process group for the whole plan.

Starting a process that imports the whole stack takes ten seconds and more, so the ranks are started once and walk all
missing stages. Lives here: starting them, drawing their progress, noticing their end. Must not: Slurm.
"""

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import submitit

from harness.errors import StageError, UserError
from harness.journal import Follower
from harness.placement import Placement, visible_gpus
from harness.plan import Step
from harness.progress import Screen
from harness.store import Store

POLL_SECONDS = 0.25
GRACE_SECONDS = 30.0
"""What the other ranks get to end by themselves after one has failed."""
STOP_SECONDS = 10.0
"""What ranks get to end when they are asked to."""
NO_LIMIT_MINUTES = 60 * 24 * 365


def run(steps: list[Step], placement: Placement) -> None:
    """Run what is missing and wait for it. Raises the reason that a stage gives for failing."""
    if placement.nodes != 1:
        raise UserError(f"--nodes {placement.nodes} needs Slurm: the local executor has one machine")
    missing = [step for step in steps if not step.done]
    store = Store(placement.store)
    folder = store.root / "logs" / "local"
    followers = {step.stage.key: Follower(store.journal_path(step.stage.key)) for step in missing}
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // placement.gpus)))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin for work starve the other ranks
    executor = submitit.LocalExecutor(folder)
    gpus = visible_gpus()[: placement.gpus]
    executor.update_parameters(
        tasks_per_node=placement.gpus, gpus_per_node=len(gpus), visible_gpus=gpus, timeout_min=NO_LIMIT_MINUTES
    )
    job = _start(executor, command(missing, placement))
    screen = Screen()
    try:
        failure = _watch(job, missing, followers, screen)
    except BaseException:
        _stop(job)
        raise
    finally:
        screen.close()
    if not all(store.done(step.stage) for step in missing):
        raise failure or StageError(f"the ranks ended without a word: see {_last_words(job.paths.folder, job.job_id)}")


def command(missing: list[Step], placement: Placement) -> str:
    """The command line of every rank."""
    keys = [step.stage.key for step in missing]
    return shlex.join([sys.executable, "-u", "-m", "harness.run", *keys, *placement.of_a_rank])


def _start(executor: submitit.LocalExecutor, command: str) -> submitit.Job[None]:
    """Start the ranks; the terminal's Ctrl-C reaches this process only, which then ends them in order.

    The body is a command that names stages, not a pickled closure, so submitit's results are not used either.
    """
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited
    try:
        return executor._submit_command(command)
    finally:
        signal.signal(signal.SIGINT, heard)


def _stop(job: submitit.Job[None]) -> None:
    """Ask the ranks to end, through their controller, whose process id is the job's; end those that do not hear it."""
    controller = int(job.job_id)
    os.kill(controller, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while not job.done() and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    if not job.done():
        for rank in Path(f"/proc/{controller}/task/{controller}/children").read_text().split():
            os.kill(int(rank), signal.SIGKILL)


def _watch(
    job: submitit.Job[None], missing: list[Step], followers: dict[str, Follower], screen: Screen
) -> UserError | StageError | None:
    """Draw until the ranks have ended; the first failure they told of, if any."""
    failure: UserError | StageError | None = None
    end = float("inf")
    running = True
    while running:
        running = not job.done()
        for step in missing:
            for event in followers[step.stage.key].new_events():
                if event["event"] != "failed":
                    screen.show(step.title, event)
                elif failure is None:
                    kind = UserError if event["kind"] == "UserError" else StageError
                    failure = kind(f"{step.title}: {event['reason']}")
                    end = time.monotonic() + GRACE_SECONDS
        if time.monotonic() > end:
            _stop(job)
            end = float("inf")
        if running:
            time.sleep(POLL_SECONDS)
    return failure


def _last_words(folder: Path, job_id: str) -> str:
    """The error log of rank 0 and its last line."""
    path = folder / f"{job_id}_0_log.err"
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return f"{path}: {lines[-1]}" if lines else str(path)
