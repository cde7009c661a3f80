"""What a benchmark is: named entries, each a complete pipeline that ends in an evaluation, run under one or more seeds.

Lives here: `Entry`, `Suite` and finding a suite by name. Must not: recipes (the top-level folder `benchmarks`).
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import benchmarks
from harness.errors import UserError
from harness.plugins import did_you_mean
from harness.spec import Stage
from harness.stages.evaluate import Evaluate


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the table: the evaluation with everything it nests, and the top1 it should reach if known."""

    name: str
    evaluate: Evaluate
    promised: float | None = None
    """Percent."""
    source: str | None = None
    """Where the promise comes from."""
    train: Evaluate | None = None
    """The same network on the images it was trained on: gives the generalisation gap."""
    smoothing: Stage | None = None
    """A Smoothing stage: how this teacher's predictions differ from those of the dense one."""
    inspect: Stage | None = None
    """An Inspect stage: how dense its layers are, how compact its features."""
    against: tuple[str, ...] = ()
    """Names of the entries it is compared with, for a verdict on each."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be done before there is a row."""
        stages = (self.evaluate, self.train, self.smoothing, self.inspect)
        return tuple(stage for stage in stages if stage is not None)

    @property
    def seed(self) -> int | None:
        """Seed of the network's own training, if it has one."""
        return getattr(self.evaluate.network, "seed", None)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The entries of one table, in its order, and the usual shape of a node."""

    entries: tuple[Entry, ...]
    gpus: int = 1
    """Ranks on a node."""
    workers: int = 1
    """Loader threads of each rank."""
    seeds: int = 1
    """How many seeds are run unless the launch says otherwise: 0, 1, ..."""
    protocol: str = ""
    """What a reader of the table must know of it: `paper recipes`, `a tenth of the paper's epochs`."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The entries' names in their order, each once however many seeds there are."""
        return tuple(dict.fromkeys(entry.name for entry in self.entries))

    @property
    def wanted(self) -> list[tuple[str, Stage]]:
        """Every stage that a row is read off, with its entry's name; the seed is told where there are several."""
        return [(self._label(entry), stage) for entry in self.entries for stage in entry.stages]

    def _label(self, entry: Entry) -> str:
        return entry.name if self.seeds == 1 or entry.seed is None else f"{entry.name}, seed {entry.seed}"


def find_suite(benchmark: str, suite: str | None, seeds: int | None = None) -> tuple[str, Suite]:
    """The suite's name, and its entries for seeds 0 .. seeds - 1: all seeds of the first entry, then of the next.

    Without a name the benchmark's first suite, without `seeds` as many as the suite says. Raises UserError with the
    nearest name, or if the entries cannot be told apart or compared.
    """
    known = sorted(p.stem for folder in benchmarks.__path__ for p in Path(folder).glob("*.py") if p.stem != "__init__")
    if benchmark not in known:
        raise UserError(f"unknown benchmark {benchmark!r}{did_you_mean(benchmark, known)}")
    suites: dict[str, Callable[[int], Suite]] = importlib.import_module(f"benchmarks.{benchmark}").SUITES
    name = suite or next(iter(suites))
    if name not in suites:
        raise UserError(f"unknown suite {name!r} of {benchmark}{did_you_mean(name, suites)}")
    first = suites[name](0)
    seeds = first.seeds if seeds is None else seeds
    runs = [first, *(suites[name](seed) for seed in range(1, seeds))]
    try:
        return name, over_seeds(runs)
    except UserError as error:
        raise UserError(f"suite {name!r} of {benchmark}: {error}") from error


def over_seeds(runs: list[Suite]) -> Suite:
    """One suite of what a suite holds for seeds 0, 1, ... Raises UserError if the entries are not the same."""
    for seed, run in enumerate(runs):
        _require_distinct(run)
        if run.names != runs[0].names:
            odd = sorted(set(run.names) ^ set(runs[0].names)) or ["their order"]
            raise UserError(f"the entries of seed {seed} are not those of seed 0: {odd[0]!r} differs")
    same = list(zip(*(run.entries for run in runs), strict=True))
    for entries in same:
        trained = {entry.evaluate.key: entry.seed for entry in entries if entry.seed is not None}
        if len(set(trained.values())) < len(trained):  # nobody could pair their rows with those of another entry
            raise UserError(f"entry {entries[0].name!r} trains several networks under one seed: hand it the suite's")
    return replace(runs[0], entries=tuple(entry for entries in same for entry in entries), seeds=len(runs))


def _require_distinct(suite: Suite) -> None:
    """Raise UserError if two entries would be one line of the table, or one is compared with none."""
    found: dict[str, str] = {}
    for entry in suite.entries:
        if entry.name in found.values():
            raise UserError(f"two entries are called {entry.name!r}: rename one")
        if (twin := found.setdefault(entry.evaluate.key, entry.name)) != entry.name:
            raise UserError(f"entries {twin!r} and {entry.name!r} are the same evaluation: leave one out")
        for other in entry.against:
            if other not in suite.names:
                raise UserError(f"entry {entry.name!r} is compared with {other!r}{did_you_mean(other, suite.names)}")
