"""What of a plan is handed to Slurm now, so that every missing stage has one job.

Lives here: the order of a submission. Must not: batch files (`harness.executors.slurm`), waiting for jobs.

One launch at a time looks at the queue and submits: it holds the store's launch lock. What it is about to submit is
written down before; a stage that is in the queue already, whoever put it there, is left alone.
"""

import getpass
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import UserError
from harness.executors.jobs import Batch, Task, batches, pack
from harness.executors.queue import Queued, ask_queue, cancel_pending, jobs_by_key
from harness.executors.slurm import Site, Submission, leave_allocation
from harness.history import read_history
from harness.launches import Launch, read_launches, write_launch
from harness.lease import hold
from harness.placement import Placement
from harness.plan import Step
from harness.snapshot import take_snapshot
from harness.store import THREADS, Store

LAUNCH_WAIT_S = 300.0
"""How long a launch waits for another one into the same store to leave."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody typed, or the last job of a launch repeats."""

    launch: Launch
    """The record, without jobs."""
    steps: Sequence[Step]
    placement: Placement
    root: Path
    """The project whose code the jobs run."""
    table: Sequence[str]
    """Arguments of `harness` that repeat the launch."""

    @property
    def repeated(self) -> bool:
        """Whether nobody typed it: then what failed for good is left alone."""
        return self.launch.id != self.launch.origin


def submit(request: Request, announce: Callable[[str], None]) -> bool:
    """Submit what is neither done nor in the queue; whether anything of the plan is still under way."""
    leave_allocation()
    site = Site.ask(request.placement.site.partition)
    store = Store(request.placement.store)
    with hold(store.root / "leases" / "launch", "the launch of jobs", wait_s=LAUNCH_WAIT_S):
        launches = read_launches(store)
        queue = _without_other_shapes(request, launches, ask_queue(), announce)
        waiting = jobs_by_key(launches, queue)
        steps = _to_submit(request, store, waiting, announce)
        queued = {step.stage.key: waiting[step.stage.key] for step in request.steps if step.stage.key in waiting}
        if not steps and (not queued or _followed(request, launches, queue)):
            _announce_queued(request, queued, announce)
            return bool(queued)
        submission = _prepare(request, site, steps, queued, queue, store)
        submission.check()
        write_launch(replace(request.launch, jobs=submission.jobs), store)
        _announce_queued(request, queued, announce)
        submission.submit(lambda batch, job: announce(_title(batch, job, request.placement)))
        return True


def preview(request: Request, site: Site) -> list[str]:
    """The batch files of a launch into an empty queue, as sbatch would get them."""
    missing = [step for step in request.steps if not step.done]
    if not missing:
        return []
    packed = batches(pack(missing, {}), site.largest_array)
    submission = _submission(request, site, packed, frozenset(), request.placement.store.resolve() / "code" / "<code>")
    return [submission.text(number, {}) for number in range(len(packed) + 1)]


def _prepare(
    request: Request, site: Site, steps: list[Step], queued: Mapping[str, Queued], queue: list[Queued], store: Store
) -> Submission:
    tasks = pack(steps, {key: job.job for key, job in queued.items()})
    if (limit := request.placement.site.max_submit) is not None:
        mine = [job for job in queue if job.user == getpass.getuser() and not job.name.startswith("harness-table-")]
        room = limit - 1 - len(mine)
        if room < 1:
            raise UserError(
                f"the queue is full: the profile allows {limit} jobs at a time (max_submit); try again later"
            )
        tasks = tasks[:room]
    packed = batches(tasks, site.largest_array)
    ids = frozenset(job.job for job in queued.values())
    return _submission(request, site, packed, ids, take_snapshot(request.root, store))


def _submission(request: Request, site: Site, packed: list[Batch], queued: frozenset[str], code: Path) -> Submission:
    return Submission(
        launch=request.launch.id,
        origin=request.launch.origin,
        placement=request.placement,
        site=site,
        code=code,
        batches=packed,
        queued=queued,
        table=request.table,
    )


def _without_other_shapes(
    request: Request, launches: Iterable[Launch], queue: list[Queued], announce: Callable[[str], None]
) -> list[Queued]:
    """The queue once this user's waiting jobs of another shape are gone from it: a launch typed anew means its nodes.

    What runs is left alone. All waiting jobs of the plan go together, for they wait for one another.
    """
    shape = (request.launch.nodes, request.launch.gpus)
    plan = request.launch.stages.keys()
    of_job = {job.name: launch for launch in launches for job in launch.jobs}
    mine = {
        job.job: of_job[job.name]
        for key, job in jobs_by_key(launches, queue).items()
        if key in plan and job.state == "PENDING" and job.user == getpass.getuser()
    }
    if request.repeated or all((launch.nodes, launch.gpus) == shape for launch in mine.values()):
        return queue
    announce(f"{len(mine)} waiting jobs were asked for in another shape: cancelled, and submitted anew")
    cancel_pending(mine)
    return ask_queue()


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
    history = read_history(store.journal_path(step.stage.key))
    if history.cancelled_in(request.launch.origin):
        return f"cancelled by {history.cancelled_by}"
    if history.tries(request.launch.origin) >= request.placement.tries:
        return history.failure or "it ended without a word"
    return None


def _followed(request: Request, launches: Iterable[Launch], queue: Iterable[Queued]) -> bool:
    """Whether the last job of a launch of the same table is in the queue."""
    names = {job.name for job in queue}
    wanted = request.launch
    return any(
        (launch.benchmark, launch.suite, launch.seeds, launch.results)
        == (wanted.benchmark, wanted.suite, wanted.seeds, wanted.results)
        and launch.jobs
        and launch.jobs[-1].name in names
        for launch in launches
    )


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
