"""Rows on disk: `results/rows/<benchmark>/<key>.json`, one for every evaluated network.

Lives here: making rows of finished evaluations, writing and reading them. Must not: tables.
"""

from collections.abc import Collection
from pathlib import Path

from harness.benchmark import Entry, Suite
from harness.errors import UserError
from harness.metrics import wilson
from harness.row import Row, from_json, to_json
from harness.store import Store, replace_file


def collect(benchmark: str, suite_name: str, suite: Suite, store: Store, results: Path) -> int:
    """Write a row for every finished evaluation of the suite. Returns how many are not finished."""
    folder = results / "rows" / benchmark
    unfinished = 0
    for position, entry in enumerate(suite.entries):
        if not store.done(entry.evaluate):
            unfinished += 1
            continue
        row = make_row(benchmark, suite_name, position, entry, store)
        text, path = to_json(row), folder / f"{row.key}.json"
        if path.exists() and from_json(path.read_text()).fingerprint != row.fingerprint:
            raise UserError(f"{path} is a row of other images: use another --results, or remove it")
        if not path.exists() or path.read_text() != text:
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, text)
    return unfinished


def make_row(benchmark: str, suite: str, position: int, entry: Entry, store: Store) -> Row:
    """The row of one finished evaluation: what it counted, under the name its benchmark gives it."""
    manifest = store.manifest(entry.evaluate)
    found, made = manifest["payload"], manifest["provenance"]
    low, high = wilson(found["hits1"], found["n"])
    return Row(
        benchmark=benchmark,
        suite=suite,
        entry=entry.name,
        position=position,
        top1=percent(found["hits1"], found["n"]),
        top1_low=round(low, 4),
        top1_high=round(high, 4),
        top5=percent(found["hits5"], found["n"]),
        promised=entry.promised,
        source=entry.source,
        key=entry.evaluate.key,
        **{name: found[name] for name in _COUNTED},
        **{name: made[name] for name in ("ranks", "device", "git_hash", "git_dirty", "versions")},
    )


def read_rows(benchmark: str, keys: Collection[str], results: Path) -> list[Row]:
    """The rows with these keys, in the order of their entries; those of earlier recipes stay out of the table.

    Raises UserError naming a file that is not a row.
    """
    rows = []
    for path in sorted((results / "rows" / benchmark).glob("*.json")):
        try:
            row = from_json(path.read_text())
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        if row.key in keys:
            rows.append(row)
    return sorted(rows, key=lambda row: (row.position, row.seed or 0, row.key))


def percent(hits: int, n: int) -> float:
    """Hits in percent of n, to four decimals."""
    return round(100 * hits / n, 4)


_COUNTED = ("n", "parameters", "nonzeros", "sparsity", "macs", "seed", "dataset", "fingerprint")
