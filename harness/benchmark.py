"""What a benchmark is: named entries, each a complete pipeline that ends in an evaluation.

Lives here: `Entry`, `Suite` and finding a suite by name. Must not: recipes (the top-level folder `benchmarks`).
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import benchmarks
from harness.errors import UserError
from harness.plugins import did_you_mean
from harness.spec import Stage


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the table: the evaluation stage with everything it nests, and the top1 it should reach if known."""

    name: str
    evaluate: Stage
    promised: float | None = None
    """Percent."""
    source: str | None = None
    """Where the promise comes from."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The entries of one table, in its order, and the usual shape of a node."""

    entries: tuple[Entry, ...]
    gpus: int = 1
    """Ranks on a node."""
    workers: int = 1
    """Loader threads of each rank."""


def find_suite(benchmark: str, suite: str | None) -> tuple[str, Suite]:
    """The suite and its name; without a name the benchmark's first. Raises UserError with the nearest name."""
    known = sorted(p.stem for folder in benchmarks.__path__ for p in Path(folder).glob("*.py") if p.stem != "__init__")
    if benchmark not in known:
        raise UserError(f"unknown benchmark {benchmark!r}{did_you_mean(benchmark, known)}")
    suites: dict[str, Callable[[], Suite]] = importlib.import_module(f"benchmarks.{benchmark}").SUITES
    name = suite or next(iter(suites))
    if name not in suites:
        raise UserError(f"unknown suite {name!r} of {benchmark}{did_you_mean(name, suites)}")
    return name, suites[name]()
