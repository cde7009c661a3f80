"""The pinned text of a suite under seed 0: every recipe, then every stage with its key and its whole spec.

Run `.venv/bin/python -m tests.golden.pin` to pin what the benchmarks say now; the diff is the science that changed.
Suites that are a part of another one, or its shortened twin, are not pinned again.
"""

import hashlib
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


def pinned_suites() -> list[tuple[str, str]]:
    """Those with entries that no suite before them has."""
    found, seen = [], set[str]()
    for names in suites():
        keys = {entry.evaluate.key for entry in find_suite(*names, 1)[1].entries}
        if not names[1].endswith("-budget") and not keys <= seen:
            found.append(names)
        seen |= keys
    return found


def pinned(benchmark: str, suite: str) -> str:
    """One line a recipe; one line a stage: key, name, spec; one an entry: key, name, promise, whom it is set beside."""
    found = find_suite(benchmark, suite, 1)[1]
    recipes: dict[str, str] = {}
    lines = []
    for step in make_plan(found.wanted, Store(Path("nowhere"))):
        form = canonical(step.stage)
        if "recipe" in form:
            form["recipe"] = _named(form["recipe"], recipes)
        lines.append(f"{step.stage.key} {step.stage.name} {json.dumps(form, sort_keys=True)}")
    for entry in found.entries:
        against = f" against {list(entry.against)}" if entry.against else ""
        lines.append(f"{entry.evaluate.key} entry {entry.name!r} promised {entry.promised}{against}")
    return "\n".join([*(f"{name} {text}" for text, name in recipes.items()), *lines]) + "\n"


def path(benchmark: str, suite: str) -> Path:
    """Where the text of a suite is kept."""
    return HERE / f"{benchmark}-{suite}.txt"


def _named(recipe: object, recipes: dict[str, str]) -> str:
    """A short name for a recipe, the same for the same one."""
    text = json.dumps(recipe, sort_keys=True)
    return recipes.setdefault(text, f"recipe-{hashlib.sha256(text.encode()).hexdigest()[:8]}")


if __name__ == "__main__":
    for names in pinned_suites():
        path(*names).write_text(pinned(*names))
