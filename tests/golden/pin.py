"""The pinned text of a suite under seed 0: every stage with its key and its whole spec.

Run `.venv/bin/python -m tests.golden.pin` to pin what the benchmarks say now; the diff is the science that changed.
"""

import importlib
import json
from pathlib import Path

import benchmarks
from harness.benchmark import find_suite
from harness.plan import make_plan
from harness.spec import canonical
from harness.store import Store

HERE = Path(__file__).parent


def suites() -> list[tuple[str, str]]:
    """Every (benchmark, suite)."""
    modules = sorted(
        p.stem for folder in benchmarks.__path__ for p in Path(folder).glob("*.py") if p.stem != "__init__"
    )
    return [(name, suite) for name in modules for suite in importlib.import_module(f"benchmarks.{name}").SUITES]


def pinned(benchmark: str, suite: str) -> str:
    """One line a stage: key, name, spec; then one line an entry: key, name, promise, whom it is compared with."""
    found = find_suite(benchmark, suite, 1)[1]
    steps = make_plan(found.wanted, Store(Path("nowhere")))
    lines = [f"{s.stage.key} {s.stage.name} {json.dumps(canonical(s.stage), sort_keys=True)}" for s in steps]
    for entry in found.entries:
        against = f" against {list(entry.against)}" if entry.against else ""
        lines.append(f"{entry.evaluate.key} entry {entry.name!r} promised {entry.promised}{against}")
    return "\n".join(lines) + "\n"


def path(benchmark: str, suite: str) -> Path:
    """Where the text of a suite is kept."""
    return HERE / f"{benchmark}-{suite}.txt"


if __name__ == "__main__":
    for names in suites():
        path(*names).write_text(pinned(*names))
