"""What of a plan is handed to Slurm now, so that every missing stage has one job.

Lives here: the order of a submission. Must not: batch files (`harness.executors.slurm`), waiting for jobs.

One launch at a time looks at the queue and submits: it holds the store's launch lock. What it is about to submit is
written down before; a stage that is in the queue already, whoever put it there, is left alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from harness.attempt import Attempt
from harness.executors.jobs import Batch, Task, batches, pack
from harness.executors.queue import Queued, ask_queue, cancel_pending, jobs_by_key
from harness.executors.slurm import Site, Submission, leave_allocation
from harness.history import read_history
from harness.launches import TABLE, Launch, read_launches, write_launch
from harness.lease import user_name
from harness.placement import Placement
from harness.plan import Step
from harness.snapshot import take_snapshot
from harness.store import THREADS, Store
from harness.topology import slurm_job

NEVER = {"DependencyNeverSatisfied", "launch_failed_requeued_held", "launch failed requeued held"}
"""Reasons for which a job waits for ever."""


@dataclass(frozen=True)
class Request:
    """What somebody typed, or the last job of a launch repeats."""

    launch: Launch
    """The record, without jobs."""
    steps: Sequence[Step]
    placement: Placement
    root: Path
    """The project whose code the jobs run."""

    @property
    def repeated(self) -> bool:
        """Whether nobody typed it: then what failed for good is left alone."""
        return self.launch.id != self.launch.origin


def submit(request: Request, announce: Callable[[str], None]) -> bool:
    """Submit what is neither done nor in the queue; whether anything of the plan is still under way."""
    me = slurm_job()
    leave_allocation()
    site = Site.ask(request.placement.site.partition)
    store = Store(request.placement.store)
    with store.launch_lock():
        launches = read_launches(store)
        queue = [job for job in ask_queue() if job.job != me]  # the job this may be is no follower of itself
        given_back = stuck(launches, queue) | other_shapes(request, launches, queue)
        submission, queued = _prepare(request, site, launches, [j for j in queue if j.job not in given_back], announce)
        if submission is not None:
            submission.check()
        if given_back:
            announce(f"{len(given_back)} waiting jobs can never start, or have another shape: cancelled")
            cancel_pending(given_back)
            queue = [job for job in ask_queue() if job.job != me]  # some may have started meanwhile
            submission, queued = _prepare(request, site, launches, queue, announce)
        _announce_queued(request, queued, announce)
        if submission is None:
            return bool(queued)
        write_launch(replace(request.launch, jobs=submission.jobs), store)
        submission.submit(lambda batch, job: announce(_title(batch, job, request.placement)))
        return True


def preview(request: Request, site: Site) -> list[str]:
    """The batch files of a launch into an empty queue, as sbatch would get them."""
    missing = [step for step in request.steps if not step.done]
    if not missing:
        return []
    packed = batches(pack(missing, {}), site.largest_array)
    submission = _submission(request, site, packed, frozenset(), request.placement.store.resolve() / "code" / "<code>")
    return [submission.text(number) for number in range(len(packed) + 1)]


def stuck(launches: Iterable[Launch], queue: Iterable[Queued]) -> set[str]:
    """This user's jobs that Slurm will never start: an input failed, or a start did and the job is held since."""
    ours = {job.name for launch in launches for job in launch.jobs}
    return {job.job for job in queue if job.name in ours and job.user == user_name() and job.reason in NEVER}


def other_shapes(request: Request, launches: Iterable[Launch], queue: Sequence[Queued]) -> set[str]:
    """This user's waiting jobs of the plan, if a person asks for another shape: a launch typed anew means its nodes.

    What runs is left alone. All that waits goes together, for it waits for one another.
    """
    of_job = {job.name: launch for launch in launches for job in launch.jobs}
    plan = request.launch.stages.keys()
    waiting = {
        job.job: of_job[job.name].shape
        for key, job in jobs_by_key(launches, queue).items()
        if key in plan and job.state == "PENDING" and job.user == user_name()
    }
    if request.repeated or set(waiting.values()) <= {request.launch.shape}:
        return set()
    return set(waiting)


def _prepare(
    request: Request,
    site: Site,
    launches: Sequence[Launch],
    queue: Sequence[Queued],
    announce: Callable[[str], None],
) -> tuple[Submission | None, dict[str, Queued]]:
    """What is to be submitted, if anything, and which stages of the plan are in the queue, by key."""
    store = Store(request.placement.store)
    waiting = jobs_by_key(launches, queue)
    queued = {step.stage.key: waiting[step.stage.key] for step in request.steps if step.stage.key in waiting}
    steps = _to_submit(request, store, queued, announce)
    if not steps and (not queued or _followed(request, launches, queue)):
        return None, queued
    tasks, waits = pack(steps, {key: job.job for key, job in queued.items()}), {job.job for job in queued.values()}
    if (limit := request.placement.site.max_submit) is not None:
        mine = [job for job in queue if job.user == user_name()]
        others = {job.job for job in mine if not job.name.startswith(TABLE)}
        room = limit - len(mine) - 1 - request.repeated  # the new last job, and the one that this may be
        tasks = tasks[: max(room, 0 if others else 1)]  # the last job submits the others when these have ended
        waits |= others
    packed = batches(tasks, site.largest_array)
    return _submission(request, site, packed, frozenset(waits), take_snapshot(request.root, store)), queued


def _submission(request: Request, site: Site, packed: list[Batch], queued: frozenset[str], code: Path) -> Submission:
    return Submission(
        launch=request.launch.id,
        origin=request.launch.origin,
        placement=request.placement,
        site=site,
        code=code,
        batches=packed,
        queued=queued,
    )


def _to_submit(
    request: Request, store: Store, queued: Mapping[str, Queued], announce: Callable[[str], None]
) -> list[Step]:
    """What is missing and not in the queue; of a repeated launch, without what failed for good and what needs it."""
    missing = [step for step in request.steps if not step.done and step.stage.key not in queued]
    if not request.repeated:
        return missing
    with ThreadPoolExecutor(THREADS) as pool:
        reasons = list(pool.map(lambda step: _failed_for_good(request, step, store), missing))
    lost: set[str] = set()
    for step, reason in zip(missing, reasons, strict=True):
        if reason is not None:
            announce(f"given up: {step.title}: {reason}")
        if reason is not None or any(child.key in lost for child in step.stage.inputs()):
            lost.add(step.stage.key)
    return [step for step in missing if step.stage.key not in lost]


def _failed_for_good(request: Request, step: Step, store: Store) -> str | None:
    attempt = Attempt(launch=request.launch.origin, tries=request.placement.tries)
    return attempt.enough(read_history(store.journal_path(step.stage.key)))


def _followed(request: Request, launches: Iterable[Launch], queue: Iterable[Queued]) -> bool:
    """Whether the last job of a launch of the same table is in the queue."""
    names = {job.name for job in queue}
    tables = (launch for launch in launches if launch.jobs and launch.jobs[-1].name in names)
    return any(launch.table == request.launch.table for launch in tables)


def _announce_queued(request: Request, queued: Mapping[str, Queued], announce: Callable[[str], None]) -> None:
    for step in request.steps:
        if (job := queued.get(step.stage.key)) is not None:
            announce(f"job {job.job} is in the queue: {step.title}")


def _title(batch: Batch | None, job: str, placement: Placement) -> str:
    if batch is None:
        return f"job {job}: the table, in {placement.results}"
    if len(batch.tasks) == 1:
        return f"job {job}: {_contents(batch.first)}"
    return f"job {job}: {len(batch.tasks)} times {batch.first.kind}, from {batch.first.steps[0].title} on"


def _contents(task: Task) -> str:
    first, *others = task.steps
    return f"{first.title} and {len(others)} more" if others else first.title
