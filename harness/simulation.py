"""A queue that is played through before anything is submitted: when a plan would be done, and what interruptions cost.

Lives here: the events of a queue, the longest chain, the goodput of an interrupted training. Must not: what a job holds
(`harness.job_cost`), asking a real queue (`harness.executors.queue`).
"""

import heapq
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UserError
from harness.placement import CHECKPOINT_S, CHECKPOINT_SHARE


@dataclass(frozen=True, kw_only=True)
class Task:
    """One job of the queue."""

    key: str
    title: str
    seconds: float
    gpus: int
    """GPUs that it holds, or cores where there are none."""
    inputs: tuple[str, ...] = ()
    """Keys that must be done before; those of no task are done already."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a queue went."""

    makespan: float
    """Seconds from the first submission to the last end."""
    busy: float
    """Share of all GPUs' time in which a job held them."""
    starts: Mapping[str, float]
    """Seconds after submission, by key."""
    critical_path: tuple[Task, ...]
    """The chain of tasks, each an input of the next, that takes longest: no number of GPUs is faster."""
    lower_bound: float
    """Seconds that no schedule on so many GPUs can beat: the critical path, or all work spread evenly."""


def simulate(tasks: Sequence[Task], gpus: int) -> Schedule:
    """Run the tasks on an empty cluster of `gpus` GPUs, or cores. Inputs come before their users.

    In the order of submission, with backfill as Slurm does it: the first task that finds too few GPUs gets the time
    reserved at which they will be free, and a later one may overtake only if that delays it by nothing. Of later
    tasks the first of each width is tried. GPUs count, not the nodes they are in: narrow jobs are taken to leave no
    holes. Raises UserError if a task needs more GPUs than there are.
    """
    for task in tasks:
        if task.gpus > gpus:
            raise UserError(f"{task.title} needs {task.gpus} GPUs or cores, there are {gpus}: lower --nodes-per-job")
    starts = _Queue(tasks, gpus).run()
    path = _longest_chain(tasks)
    work = sum(task.seconds * task.gpus for task in tasks)
    makespan = max((starts[task.key] + task.seconds for task in tasks), default=0.0)
    return Schedule(
        makespan=makespan,
        busy=work / (gpus * makespan) if makespan else 0.0,
        starts=starts,
        critical_path=path,
        lower_bound=max(sum(task.seconds for task in path), work / gpus),
    )


class _Queue:
    """Tasks that wait and run, and the GPUs that are free."""

    def __init__(self, tasks: Sequence[Task], gpus: int) -> None:
        self.tasks, self.free = tasks, gpus
        self.starts: dict[str, float] = {}
        self._ready: dict[int, list[int]] = {}  # places of tasks by width, the first submitted on top
        self._running: list[tuple[float, int]] = []  # ends and places
        known = {task.key for task in tasks}
        self._waits_for = [sum(key in known for key in task.inputs) for task in tasks]
        self._users: dict[str, list[int]] = {}
        for place, task in enumerate(tasks):
            for key in task.inputs:
                self._users.setdefault(key, []).append(place)

    def run(self) -> dict[str, float]:
        """When each task starts."""
        for place, count in enumerate(self._waits_for):
            if not count:
                self._submit(place)
        self._start_what_fits(0.0)
        while self._running:
            now = self._running[0][0]
            while self._running and self._running[0][0] == now:
                self._end(heapq.heappop(self._running)[1])
            self._start_what_fits(now)
        return self.starts

    def _submit(self, place: int) -> None:
        heapq.heappush(self._ready.setdefault(self.tasks[place].gpus, []), place)

    def _end(self, place: int) -> None:
        self.free += self.tasks[place].gpus
        for user in self._users.get(self.tasks[place].key, ()):
            self._waits_for[user] -= 1
            if not self._waits_for[user]:
                self._submit(user)

    def _start_what_fits(self, now: float) -> None:
        while (place := next(self._startable(now), None)) is not None:
            task = self.tasks[heapq.heappop(self._ready[self.tasks[place].gpus])]
            self.free -= task.gpus
            self.starts[task.key] = now
            heapq.heappush(self._running, (now + task.seconds, place))

    def _startable(self, now: float) -> Iterator[int]:
        """The first task if it fits, else later ones that do not delay it."""
        heads = sorted(waiting[0] for waiting in self._ready.values() if waiting)
        if not heads:
            return
        first, *later = heads
        if self.tasks[first].gpus <= self.free:
            yield first
            return
        fitting = [place for place in later if self.tasks[place].gpus <= self.free]
        if not fitting:
            return
        reserved, spare = self._reservation(self.tasks[first].gpus)
        for place in fitting:
            if now + self.tasks[place].seconds <= reserved or self.tasks[place].gpus <= spare:
                yield place

    def _reservation(self, wanted: int) -> tuple[float, int]:
        """When so many nodes will be free, and how many besides them."""
        free = self.free
        for end, place in sorted(self._running):
            free += self.tasks[place].gpus
            if free >= wanted:
                return end, free - wanted
        raise AssertionError("a task that needs more GPUs than there are")


def _longest_chain(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """The tasks of the chain that takes longest, in order."""
    by_key: dict[str, Task] = {}
    until: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for task in tasks:
        by_key[task.key] = task
        last = max((key for key in task.inputs if key in until), key=until.__getitem__, default=None)
        before[task.key] = last
        until[task.key] = task.seconds + (until[last] if last is not None else 0.0)
    key = max(until, key=until.__getitem__, default=None)
    chain: list[Task] = []
    while key is not None:
        chain.append(by_key[key])
        key = before[key]
    return tuple(reversed(chain))


def goodput(
    *,
    checkpoint_s: float,
    save_s: float,
    restart_s: float,
    mtbf_s: float,
    grace: bool,
    horizon_s: float,
    seed: int,
) -> float:
    """Share of its time in which one long training does what it need not do again; the rest is lost to interruptions.

    They come at exponential intervals of `mtbf_s` on average. A checkpoint follows every `checkpoint_s` of training and
    holds it up for `save_s`; with `grace` a signal comes in time for one more. Every attempt begins with `restart_s`
    in which nothing is trained. Monte Carlo over `horizon_s`, the last attempt being cut off there; see Young (1974)
    and Daly (2006) for the first order, (checkpoint_s / 2 + restart_s) / mtbf_s lost.
    """
    draws = random.Random(seed)  # noqa: S311  # no secret
    useful = passed = 0.0
    while passed < horizon_s:
        lasted = min(draws.expovariate(1 / mtbf_s), horizon_s - passed)
        passed += lasted
        trained = max(lasted - restart_s, 0.0)
        saves = math.floor(trained / (checkpoint_s + save_s))
        useful += saves * checkpoint_s
        if grace or passed >= horizon_s:
            useful += min(trained - saves * (checkpoint_s + save_s), checkpoint_s)
    return useful / passed


def checkpoint_interval(save_s: float) -> float:
    """Seconds between two checkpoints of a training that each of them holds up for so long."""
    return max(CHECKPOINT_S, save_s / CHECKPOINT_SHARE)
