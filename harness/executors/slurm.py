"""Submits a plan to Slurm through submitit, and leaves.

A job's body is `python -m harness.run KEY ...`, names and not a pickled closure; done means the manifest exists, so
nothing of submitit's results is read. Lives here: batch files and handing them over. Must not: which stages share a job
(`harness.executors.jobs`), what is in the queue (`harness.executors.queue`), waiting.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import submitit
from submitit.slurm.slurm import _make_sbatch_string

from harness.errors import GAVE_UP, UserError
from harness.executors.jobs import Batch, Task
from harness.executors.queue import QUERY_SECONDS, query
from harness.launches import Job
from harness.placement import Placement
from harness.topology import SLURM_MASTER

AT_ONCE = 8
"""Clients that hand jobs over side by side: twice as many a second as one."""
MOST_TASKS = 1000
"""Of an array: their keys are in its batch file, which must not exceed 4 MB."""
TABLE_MINUTES = 60
MOST_PARENTS = 1000
"""Jobs that one job waits for; the controller reads the whole list whenever it looks at the queue."""


@dataclass(frozen=True)
class Site:
    """What Slurm says of itself."""

    gpus: bool
    """Whether the partition's nodes declare GPUs that a job can ask for."""
    largest_array: int

    @staticmethod
    def ask(partition: str | None) -> "Site":
        """Raises UserError where jobs cannot be submitted, or the partition is unknown."""
        for program in ("sbatch", "srun", "squeue", "sinfo", "scontrol"):
            if shutil.which(program) is None:
                raise UserError(f"no {program} on this machine: log in to the cluster, or choose --executor local")
        rows = [line.split("|") for line in query("sinfo", "-h", "-o", "%R|%G").splitlines()]
        known = sorted({name for name, _ in rows})
        if partition is not None and not set(partition.split(",")) <= set(known):
            raise UserError(f"this cluster has no partition {partition!r}: it has {', '.join(known)}")
        config = dict(line.split("=", 1) for line in query("scontrol", "show", "config").splitlines() if "=" in line)
        sizes = {key.strip(): value.strip() for key, value in config.items()}
        wanted = set(partition.split(",")) if partition else set(known)
        gpus = any("gpu" in gres for name, gres in rows if name in wanted)
        return Site(gpus, largest_array=max(1, min(MOST_TASKS, int(sizes.get("MaxArraySize", 1001)) - 1)))


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The jobs of one launch."""

    launch: str
    """Its id, a part of every job's name."""
    origin: str
    """Of the launch that a person typed, which this one may follow."""
    placement: Placement
    site: Site
    code: Path
    """Working directory of the jobs: a snapshot."""
    batches: Sequence[Batch]
    queued: frozenset[str]
    """Slurm ids of earlier launches' jobs that run stages of the plan."""

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """Every job as it is recorded, the last one included."""
        found = [
            Job(
                name=self._name(batch.first.kind, number),
                tasks=tuple(tuple(step.stage.key for step in task.steps) for task in batch.tasks),
                array=len(batch.tasks) > 1,
            )
            for number, batch in enumerate(self.batches)
        ]
        return (*found, Job(name=self._name("table", len(found)), tasks=(), array=False))

    def check(self) -> None:
        """Let Slurm look at one job of each shape without taking it. Raises UserError with its reason for refusing."""
        shapes = {(batch.first.wide, batch.first.computes): number for number, batch in enumerate(self.batches)}
        for number in [*shapes.values(), len(self.batches)]:
            command, parameters = self._job(number, self._names)
            parameters.pop("dependency", None)  # there is nothing yet to wait for
            _try_out(_make_sbatch_string(command=command, folder=self._folder, **parameters))

    def submit(self, announce: Callable[[Batch | None, str], None]) -> None:
        """Hand everything over; each job is announced with Slurm's id for it.

        The last job follows whatever was taken: if one is refused half-way, it submits the rest later.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        ids: dict[int, str] = {}
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for level in self._levels:
                    for number, job in zip(level, pool.map(lambda n: self._hand_over(n, ids), level), strict=True):
                        ids[number] = job
                        announce(self.batches[number], job)
        finally:
            if ids or self.queued:
                announce(None, self._hand_over(len(self.batches), ids))

    def text(self, number: int) -> str:
        """The batch file of a job, as sbatch gets it; others, which have no ids yet, are called by their names."""
        command, parameters = self._job(number, self._names)
        text: str = _make_sbatch_string(command=command, folder=self._folder, **parameters)
        return text

    @property
    def _folder(self) -> Path:
        return self.placement.store.resolve() / "logs" / "slurm"

    @cached_property
    def _names(self) -> dict[int, str]:
        """What stands for the id of each job before there is one."""
        return {number: f"<{job.name}>" for number, job in enumerate(self.jobs)}

    @cached_property
    def _place_of(self) -> dict[int, tuple[int, int]]:
        """Of each task: the number of its batch, and its place there."""
        return {
            task.number: (number, place)
            for number, batch in enumerate(self.batches)
            for place, task in enumerate(batch.tasks)
        }

    @cached_property
    def _levels(self) -> list[list[int]]:
        """Numbers of jobs that can be submitted side by side, one level after the other."""
        level: dict[int, int] = {}
        for number, batch in enumerate(self.batches):
            level[number] = 1 + max((level[self._place_of[task][0]] for task in batch.first.after), default=-1)
        found: list[list[int]] = [[] for _ in range(1 + max(level.values(), default=-1))]
        for number, depth in level.items():
            found[depth].append(number)
        return found

    def _name(self, kind: str, number: int) -> str:
        return f"harness-{kind}-{self.launch}.{number}"

    def _hand_over(self, number: int, ids: Mapping[int, str]) -> str:
        """Submitit's public call would pickle a function; the command form takes a command."""
        command, parameters = self._job(number, ids)
        count = parameters.pop("map_count", None)
        executor = submitit.SlurmExecutor(self._folder)
        executor.update_parameters(**parameters)
        if count is not None:
            executor.parameters["map_count"] = count  # as its own submission of arrays does
        try:
            return str(executor._submit_command(command).job_id)
        except submitit.core.utils.FailedJobError as error:
            raise UserError(f"sbatch refused the job: {_last_line(str(error))}") from error

    def _job(self, number: int, ids: Mapping[int, str]) -> tuple[str, dict[str, Any]]:
        """Command and parameters for submitit."""
        if number == len(self.batches):
            return self._table_job(ids)
        batch = self.batches[number]
        task, array = batch.first, len(batch.tasks) > 1
        parents = [*sorted(task.after_queued), *(self._task_id(after, ids) for after in sorted(task.after))]
        parameters = self._parameters(number, wide=task.wide, gpus=self._gpus(task))
        if parents:
            parameters["dependency"] = "afterok:" + ":".join(parents)
        keys = [" ".join(step.stage.key for step in each.steps) for each in batch.tasks]
        if array:
            parameters["map_count"] = len(keys)
            parameters["array_parallelism"] = self.placement.site.max_jobs or len(keys)
            parameters["setup"] = [*parameters["setup"], "keys=(", *(f"'{each}'" for each in keys), ")"]
        named = "${keys[$SLURM_ARRAY_TASK_ID]}" if array else keys[0]
        words = [*self.placement.of_a_rank, "--launch", self.origin, "--tries", str(self.placement.tries)]
        words += ["--code", str(self.code), *(["--need-gpu"] if self._gpus(task) else [])]
        return f"{shlex.quote(self._python)} -m harness.run {named} {shlex.join(words)}", parameters

    def _table_job(self, ids: Mapping[int, str]) -> tuple[str, dict[str, Any]]:
        """It starts when everything that was taken has ended, however it did."""
        parameters = self._parameters(len(self.batches), wide=False, gpus=0)
        parameters |= {"time": TABLE_MINUTES, "signal_delay_s": 0}
        taken = {number: batch for number, batch in enumerate(self.batches) if number in ids}
        waited_for = {after for batch in taken.values() for after in batch.first.after}
        ends = [ids[n] for n, batch in taken.items() if not all(task.number in waited_for for task in batch.tasks)]
        if self.queued or ends:
            parameters["dependency"] = "afterany:" + ":".join([*sorted(self.queued), *ends][-MOST_PARENTS:])
        words = ["follow", self.origin, "--store", str(self.placement.store.resolve())]
        return shlex.join([self._python, "-m", "harness.cli", *words]), parameters

    def _gpus(self, task: Task) -> int:
        """GPUs on each node."""
        if not self.site.gpus or not task.computes:
            return 0
        return self.placement.gpus if task.wide else 1

    def _task_id(self, task: int, ids: Mapping[int, str]) -> str:
        number, place = self._place_of[task]
        return ids[number] + (f"_{place}" if len(self.batches[number].tasks) > 1 else "")

    @property
    def _python(self) -> str:
        return self.placement.site.python or sys.executable

    def _parameters(self, number: int, *, wide: bool, gpus: int) -> dict[str, Any]:
        placement, site = self.placement, self.placement.site
        threads = placement.workers + 1
        return {
            "job_name": self.jobs[number].name,
            "nodes": placement.nodes if wide else 1,
            "ntasks_per_node": placement.gpus if wide else 1,
            "cpus_per_task": threads,
            "time": placement.minutes,
            "signal_delay_s": placement.signal_seconds,
            "setup": [*self._await_store, *self._lines(threads), *site.setup],
            "teardown": _REQUEUE,
            "srun_args": [*_SRUN, f"--cpus-per-task={threads}", f"--chdir={self.code}", *site.srun],
            "stderr_to_stdout": True,
            "wckey": None,  # submitit's own, which a site that wants one may refuse
            # Without kill-on-invalid-dep a job whose input failed waits for ever.
            "additional_parameters": {
                "chdir": str(self.code),
                "output": "/dev/null",  # Slurm holds back a job whose output it cannot open: see _await_store
                "kill-on-invalid-dep": "yes",
                "requeue": True,
                **{option: value for option, value in site.site_options().items() if gpus or option != "gres"},
            },
            **({"gpus_per_node": gpus} if gpus and "gres" not in site.site_options() else {}),
        }

    @property
    def _await_store(self) -> list[str]:
        """The store may be away for a while when the job starts. What follows goes into the log of rank 0."""
        return [
            f"for _ in {{1..120}}; do cd {shlex.quote(str(self.code))} && break; sleep 5; done",
            f"exec >>{shlex.quote(str(self._folder))}/{_NAME}_0_log.out 2>&1",
        ]

    def _lines(self, threads: int) -> list[str]:
        return [
            "unset PYTHONSAFEPATH RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT",
            f'export {SLURM_MASTER}=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            f"export OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=passive PYTHONUNBUFFERED=1",
        ]


_SRUN = ("--kill-on-bad-exit=1", "--open-mode=append")
# A task of an array goes by this name: one of them has the id of the whole array.
_NAME = "${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"
# 75 asks for another try; any other code but that of a final end is a rank that was killed. The controller may be away.
# A job that Slurm itself ends does not come so far: TERM must end this script, or a cancelled job would come back.
_REQUEUE = [
    "code=$?",
    f'case "$code" in 0|{GAVE_UP}) exit "$code" ;; esac',
    # Python's own codes: a defect, or a node without the code
    '[ "$code" -gt 2 ] || [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ] || exit "$code"',
    f'for _ in {{1..60}}; do scontrol requeue "{_NAME}" && exit; sleep 5; done',
    'exit "$code"',
]


def leave_allocation() -> None:
    """Forget the job this shell may be a part of, or sbatch would take its shape over."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_", SLURM_MASTER)) and name != "SLURM_CONF":
            del os.environ[name]


def _try_out(text: str) -> None:
    try:
        done = subprocess.run(
            ["sbatch", "--test-only"], input=text, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"sbatch does not answer: {error}") from error
    if done.returncode:
        raise UserError(f"Slurm would refuse the jobs: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it does not say why"])[-1]
