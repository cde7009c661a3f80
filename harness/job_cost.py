"""What the jobs of a plan hold, and for how long.

Lives here: the jobs that a launch would make, each with its GPUs and the seconds of its stages. Must not: what a stage
costs by itself (`harness.estimate`), when a job gets its GPUs (`harness.simulation`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.estimate import Estimate
from harness.executors.jobs import Task as Job
from harness.executors.jobs import batches, pack
from harness.plan import Step
from harness.simulation import Task

START_S = 60.0
"""From the start of a job to its first batch, on each of its ranks: assumed."""


@dataclass(frozen=True, kw_only=True)
class JobCost:
    """One job, which holds all its GPUs until the last of its stages has ended."""

    steps: tuple[Step, ...]
    seconds: Mapping[str, float]
    """By key, of the stages with an estimate; the first of them bears the start of the job."""
    gpus: int
    """On all nodes together; cores where there are no GPUs."""
    inputs: tuple[str, ...]
    """Keys of the jobs it waits for."""

    @property
    def key(self) -> str:
        """That of its first stage."""
        return self.steps[0].stage.key

    @property
    def main(self) -> Step:
        """Its long stage, or its first."""
        return next((step for step in self.steps if not step.stage.short), self.steps[0])

    @property
    def hours(self) -> dict[str, float]:
        """GPU-hours by key, of all GPUs that the job holds meanwhile."""
        return {key: seconds * self.gpus / 3600 for key, seconds in self.seconds.items()}

    @property
    def task(self) -> Task:
        """As it stands in a queue."""
        return Task(
            key=self.key, title=self.main.title, seconds=sum(self.seconds.values()), gpus=self.gpus, inputs=self.inputs
        )


def job_costs(
    missing: Sequence[Step], found: Mapping[str, Estimate], *, nodes: int, gpus: int, gpu: bool, executor: str
) -> list[JobCost]:
    """The jobs in the order of their submission, wide ones on `nodes` nodes with `gpus` ranks each.

    Slurm is handed many, another executor runs everything in one. On GPUs if `gpu`: a job that cannot use any then
    holds none. Otherwise every rank holds a core.
    """
    jobs = _submitted(missing) if executor == "slurm" else [Job(0, list(missing), frozenset(), frozenset())]
    keys = {job.number: job.steps[0].stage.key for job in jobs}
    return [
        JobCost(
            steps=tuple(job.steps),
            seconds=_seconds(job, found, nodes * gpus),
            gpus=0 if gpu and not job.computes else nodes * gpus if job.wide else 1,
            inputs=tuple(keys[number] for number in sorted(job.after)),
        )
        for job in jobs
    ]


def _submitted(missing: Sequence[Step]) -> list[Job]:
    """As Slurm gets them: level by level of what waits for what, those of an array together."""
    packed = pack(missing, {})
    jobs = [job for batch in batches(packed, len(packed)) for job in batch.tasks]
    level: dict[int, int] = {}
    for job in jobs:
        level[job.number] = 1 + max((level[number] for number in job.after), default=-1)
    return sorted(jobs, key=lambda job: level[job.number])


def _seconds(job: Job, found: Mapping[str, Estimate], world: int) -> dict[str, float]:
    """By key; a stage of one rank keeps the others waiting."""
    seconds: dict[str, float] = {}
    for stage in (step.stage for step in job.steps if step.stage.key in found):
        alone = found[stage.key].device_seconds / (world if stage.ranks == "all" else 1)
        seconds[stage.key] = alone if seconds else START_S + alone
    return seconds
