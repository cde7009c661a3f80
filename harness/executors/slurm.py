"""Submits a plan to Slurm through submitit: one job for every missing stage, and one for the table.

A job's body is `python -m harness.run KEY`, a name and not a pickled closure; done means the manifest exists, so
nothing of submitit's results is read. Lives here: jobs and their dependencies. Must not: waiting for them.
"""

import getpass
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import submitit

from harness.errors import UserError
from harness.placement import Placement
from harness.plan import Step
from harness.topology import SLURM_MASTER

QUERY_SECONDS = 30


def require_slurm() -> None:
    """Raise UserError where jobs cannot be submitted."""
    for program in ("sbatch", "srun", "squeue", "sinfo"):
        if shutil.which(program) is None:
            raise UserError(f"no {program} on this machine: log in to the cluster, or choose --executor local")


def submit(
    steps: list[Step], placement: Placement, table: list[str], suite: str, announce: Callable[[str], None]
) -> dict[str, str]:
    """Submit what is neither done nor queued already; return the job id of every unfinished stage by key.

    A job starts when its inputs have ended well and is cancelled when one of them failed. `table` is the command that
    draws the table of `suite`; its job runs when all stages that end an entry have ended, however they did.
    """
    require_slurm()
    _leave_allocation()
    queued = jobs_in_queue()
    gpus = gpus_declared(placement)
    if not gpus:
        announce("this cluster declares no GPUs: every rank runs on a CPU")
    jobs: dict[str, str] = {}
    news = False
    for step in steps:
        if step.done:
            continue
        name = job_name(step.stage.name, step.stage.key, placement)
        if name in queued:
            jobs[step.stage.key] = queued[name]
            announce(f"job {queued[name]} is in the queue: {step.title}")
            continue
        wide = step.stage.ranks == "all"
        executor = _executor(placement, name, wide=wide, gpus=gpus and wide)
        parents = [jobs[child.key] for child in step.stage.inputs() if child.key in jobs]
        if parents:
            executor.update_parameters(dependency="afterok:" + ":".join(parents))
        jobs[step.stage.key] = _submit(executor, _body(step, placement, gpus=gpus and wide))
        announce(f"job {jobs[step.stage.key]}: {step.title}")
        news = True
    if news:
        needed = {child.key for step in steps for child in step.stage.inputs()}
        ends = [jobs[s.stage.key] for s in steps if s.stage.key not in needed and s.stage.key in jobs]
        executor = _executor(placement, job_name("table", suite, placement), wide=False, gpus=False)
        executor.update_parameters(dependency="afterany:" + ":".join(ends))
        announce(f"job {_submit(executor, table)}: the table, in {placement.results}")
    return jobs


def jobs_in_queue() -> dict[str, str]:
    """Job ids of this user's unfinished jobs by name."""
    lines = _query("squeue", "-h", "-u", getpass.getuser(), "-o", "%i|%j").splitlines()
    return {name: job for job, _, name in (line.partition("|") for line in lines)}


def gpus_declared(placement: Placement) -> bool:
    """Whether the partition's nodes have GPUs that a job can ask for."""
    partition = ["-p", placement.partition] if placement.partition else []
    return "gpu" in _query("sinfo", "-h", *partition, "-o", "%G")


def job_name(kind: str, what: str, placement: Placement) -> str:
    """`harness-train-0123456789ab-<store>`: found again in the queue by the next launch into the same store."""
    store = hashlib.sha256(str(placement.store.resolve()).encode()).hexdigest()
    return f"harness-{kind}-{what[:24] if kind == 'table' else what[:12]}-{store[:6]}"


def _leave_allocation() -> None:
    """Forget the job this shell may be a part of, or sbatch would take its shape over."""
    for name in list(os.environ):
        if name.startswith("SLURM_") and name != "SLURM_CONF":
            del os.environ[name]


def _executor(placement: Placement, name: str, *, wide: bool, gpus: bool) -> submitit.SlurmExecutor:
    executor = submitit.SlurmExecutor(placement.store.resolve() / "logs" / "slurm")
    site = {key: getattr(placement, key) for key in ("partition", "account", "qos", "constraint")}
    threads = placement.workers + 1
    executor.update_parameters(
        job_name=name,
        nodes=placement.nodes if wide else 1,
        ntasks_per_node=placement.gpus if wide else 1,
        cpus_per_task=threads,
        time=placement.minutes,
        setup=[
            *placement.setup,
            "unset RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT",
            f'export {SLURM_MASTER}=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            f"export OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=passive PYTHONUNBUFFERED=1",
        ],
        srun_args=[f"--cpus-per-task={threads}", "--kill-on-bad-exit=1"],
        stderr_to_stdout=True,
        # Without kill-on-invalid-dep a job whose input failed waits for ever.
        additional_parameters={"kill-on-invalid-dep": "yes", **_pairs(placement.sbatch)},
        **{key: value for key, value in site.items() if value is not None},
        **({"gpus_per_node": placement.gpus} if gpus else {}),
    )
    return executor


def _pairs(options: tuple[str, ...]) -> dict[str, str]:
    for option in options:
        if not option.partition("=")[2]:
            raise UserError(f"--sbatch {option}: KEY=VALUE is expected, mem=64G for example")
    return {key.lstrip("-"): value for key, _, value in (option.partition("=") for option in options)}


def _body(step: Step, placement: Placement, *, gpus: bool) -> list[str]:
    words = [sys.executable, "-m", "harness.run", step.stage.key, *placement.of_a_rank]
    return [*words, "--need-gpu"] if gpus else words


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
