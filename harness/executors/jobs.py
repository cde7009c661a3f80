"""How the missing stages of a plan become jobs.

Lives here: which stages share a job, which jobs an array, what each waits for. Must not: Slurm.

A long stage, a training say, has a job of its own. A short one runs in the job of the stage it reads, or just before
the only one that reads it, else together with short ones that wait for the same. Jobs of one shape that wait for the
same are an array: Slurm is asked once for all of them, and runs as many at a time as it is told.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.plan import Step

BUNDLE = 16
"""Short stages that share a job for want of a better place."""


@dataclass
class Task:
    """Stages that run one after the other, on the ranks of one job."""

    number: int
    """Its place among all tasks; it waits for lower ones only."""
    steps: list[Step]
    after: frozenset[int]
    """Tasks that must have ended well."""
    after_queued: frozenset[str]
    """Slurm ids of jobs of earlier launches that must have."""

    @property
    def wide(self) -> bool:
        """Whether it takes all ranks of the launch."""
        return any(step.stage.ranks == "all" for step in self.steps)

    @property
    def computes(self) -> bool:
        """Whether it can use a GPU."""
        return any(step.stage.computes for step in self.steps)

    @property
    def kind(self) -> str:
        """The name of its long stage, or of its first."""
        return next((step for step in self.steps if not step.stage.short), self.steps[0]).stage.name


@dataclass(frozen=True)
class Batch:
    """What is handed to Slurm at once: one task, or an array of tasks that differ in their keys alone."""

    tasks: tuple[Task, ...]

    @property
    def first(self) -> Task:
        """A task like all the others."""
        return self.tasks[0]


def batches(tasks: Sequence[Task], largest: int) -> list[Batch]:
    """The tasks, those alike together, at most `largest` in an array; each after what it waits for."""
    alike: dict[object, list[Task]] = defaultdict(list)
    for task in tasks:
        alike[task.kind, task.wide, task.computes, task.after, task.after_queued].append(task)
    found = [Batch(tuple(same[n : n + largest])) for same in alike.values() for n in range(0, len(same), largest)]
    return sorted(found, key=lambda batch: batch.first.number)


def pack(steps: Sequence[Step], queued: Mapping[str, str]) -> list[Task]:
    """The steps as tasks, each after those it waits for. All are missing; `queued`: jobs of other stages, by key."""
    return _Packing(steps, queued).tasks


@dataclass
class _Packing:
    steps: Sequence[Step]
    queued: Mapping[str, str]
    tasks: list[Task] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._of: dict[str, Task] = {}
        self._held: dict[str, list[Step]] = defaultdict(list)  # by the long stage they go before
        self._holder: dict[str, str] = {}
        self._late: dict[str, Step] = {}  # they read stages that go before several long ones
        self._bundles: dict[object, Task] = {}
        self._users = _users(self.steps)
        for step in self.steps:
            self._place(step)
        for step in self._late.values():
            self._place_last(step)

    def _place(self, step: Step) -> None:
        inputs = {child.key for child in step.stage.inputs()}
        holders = {self._holder[key] for key in inputs if key in self._holder}
        users = self._users[step.stage.key]
        if not step.stage.short:
            self._add([*self._release(step.stage.key), step])
        elif len(holders) > 1 or not inputs.isdisjoint(self._late):
            self._late[step.stage.key] = step
        elif holders:
            self._hold(step, *holders)
        elif len(users) == 1 and self._host(step) is None:
            self._hold(step, *users)
        else:
            self._place_last(step)

    def _hold(self, step: Step, user: str) -> None:
        """Keep it until the long stage comes that it goes before."""
        self._held[user].append(step)
        self._holder[step.stage.key] = user

    def _release(self, user: str) -> list[Step]:
        held = self._held.pop(user, [])
        for step in held:
            del self._holder[step.stage.key]
        return held

    def _place_last(self, step: Step) -> None:
        if (host := self._host(step)) is not None:
            self._join(host, step)
        else:
            self._bundle(step)

    def _host(self, step: Step) -> Task | None:
        """The task of a stage it reads, if that one waits for everything else that it reads."""
        after, after_queued = self._waits_for([step])
        if not after:
            return None
        host = self.tasks[max(after)]
        covered = after - {host.number} <= host.after and after_queued <= host.after_queued
        fits = host.wide >= (step.stage.ranks == "all") and host.computes >= step.stage.computes
        return host if covered and fits else None

    def _bundle(self, step: Step) -> None:
        waits = (*self._waits_for([step]), step.stage.ranks, step.stage.computes)
        bundle = self._bundles.get(waits)
        if bundle is None or len(bundle.steps) == BUNDLE:
            self._bundles[waits] = self._add([step])
        else:
            self._join(bundle, step)

    def _join(self, task: Task, step: Step) -> None:
        task.steps.append(step)
        self._of[step.stage.key] = task

    def _add(self, steps: list[Step]) -> Task:
        task = Task(len(self.tasks), steps, *self._waits_for(steps))
        self.tasks.append(task)
        self._of.update(dict.fromkeys((step.stage.key for step in steps), task))
        return task

    def _waits_for(self, steps: list[Step]) -> tuple[frozenset[int], frozenset[str]]:
        inputs = {child.key for step in steps for child in step.stage.inputs()}
        after = frozenset(self._of[key].number for key in inputs if key in self._of)
        return after, frozenset(self.queued[key] for key in inputs if key in self.queued)


def _users(steps: Sequence[Step]) -> dict[str, set[str]]:
    """Keys of the long stages that need each stage, directly or through short ones."""
    users: dict[str, set[str]] = defaultdict(set)
    for step in reversed(steps):
        of_step = users[step.stage.key] if step.stage.short else {step.stage.key}
        for child in step.stage.inputs():
            users[child.key] |= of_step
    return users
