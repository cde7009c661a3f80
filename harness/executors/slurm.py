"""Submits a plan to Slurm through submitit: one job for every missing stage, and one for the table.

A job's body is `python -m harness.run KEY`, a name and not a pickled closure; done means the manifest exists, so
nothing of submitit's results is read. Lives here: jobs and their dependencies. Must not: waiting for them.
"""

import getpass
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import submitit

from harness.errors import UserError
from harness.placement import Placement
from harness.plan import Step

QUERY_SECONDS = 30


def require_slurm() -> None:
    """Raise UserError where jobs cannot be submitted."""
    if shutil.which("sbatch") is None:
        raise UserError("no sbatch on this machine: log in to the cluster, or choose --executor local")


def submit(steps: list[Step], placement: Placement, table: list[str]) -> dict[str, str]:
    """Submit what is neither done nor queued already; return the job id of every unfinished stage by key.

    A job starts when its inputs have ended well and is cancelled when one of them failed. `table` is the command that
    draws the table; its job runs when all evaluations have ended, however they did.
    """
    require_slurm()
    queued = jobs_in_queue()
    gpus_declared = _query("sinfo", "-h", "-o", "%G").replace("(null)", "").strip() != ""
    jobs: dict[str, str] = {}
    for step in steps:
        if step.done:
            continue
        name = job_name(step)
        parents = [jobs[child.key] for child in step.stage.inputs() if child.key in jobs]
        if name in queued:
            jobs[step.stage.key] = queued[name]
            continue
        wide = step.stage.ranks == "all"
        executor = _executor(placement, name, wide=wide, gpus=placement.gpus if gpus_declared and wide else None)
        if parents:
            executor.update_parameters(dependency="afterok:" + ":".join(parents))
        jobs[step.stage.key] = _submit(executor, _body(step, placement))
    ends = [jobs[step.stage.key] for step in steps if step.stage.name == "evaluate" and step.stage.key in jobs]
    if ends:
        executor = _executor(placement, "harness-table", wide=False, gpus=None)
        executor.update_parameters(dependency="afterany:" + ":".join(ends))
        jobs["table"] = _submit(executor, table)
    return jobs


def jobs_in_queue() -> dict[str, str]:
    """Job ids of this user's waiting and running jobs by name."""
    lines = _query("squeue", "-h", "-u", getpass.getuser(), "-t", "pending,running", "-o", "%i|%j").splitlines()
    return {name: job for job, _, name in (line.partition("|") for line in lines)}


def job_name(step: Step) -> str:
    """`harness-train-0123456789ab`: found again in the queue by the next launch."""
    return f"harness-{step.stage.name}-{step.stage.key[:12]}"


def _executor(placement: Placement, name: str, *, wide: bool, gpus: int | None) -> submitit.SlurmExecutor:
    executor = submitit.SlurmExecutor(placement.store.resolve() / "logs" / "slurm")
    site = {key: getattr(placement, key) for key in ("partition", "account", "qos", "constraint")}
    executor.update_parameters(
        job_name=name,
        nodes=placement.nodes if wide else 1,
        ntasks_per_node=placement.gpus if wide else 1,
        cpus_per_task=placement.workers + 1,
        time=placement.minutes,
        setup=[f"export OMP_NUM_THREADS={placement.workers + 1} OMP_WAIT_POLICY=passive PYTHONUNBUFFERED=1"],
        srun_args=[f"--cpus-per-task={placement.workers + 1}", "--kill-on-bad-exit=1"],
        stderr_to_stdout=True,
        # Without this a job whose input failed waits for ever.
        additional_parameters={"kill-on-invalid-dep": "yes"},
        **{key: value for key, value in site.items() if value is not None},
        **({"gpus_per_node": gpus} if gpus is not None else {}),
    )
    return executor


def _body(step: Step, placement: Placement) -> list[str]:
    words = [sys.executable, "-m", "harness.run", step.stage.key, "--store", str(placement.store.resolve())]
    words += ["--workers", str(placement.workers)]
    if placement.data is not None:
        words += ["--data", str(placement.data.resolve())]
    return words


def _submit(executor: submitit.SlurmExecutor, command: list[str]) -> str:
    """Submitit's public call would pickle a function; the command form takes words, quoted here."""
    submissions = Path(executor.folder)
    submissions.mkdir(parents=True, exist_ok=True)
    try:
        return str(executor._submit_command(shlex.join(command)).job_id)
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"sbatch refused the job: {' '.join(str(error).split())}") from error


def _query(*command: str) -> str:
    """The output of a Slurm command. Raises UserError with its own last line if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{command[0]} does not answer: {error}") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"{command[0]} failed: {reason}")
    return done.stdout
