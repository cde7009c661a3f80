"""The tables and figures in `results/` are what their rows say, whoever made them."""

from pathlib import Path

import pytest

from harness.benchmark import find_suite
from harness.leaderboard.figures import to_svgs
from harness.leaderboard.rows import read_rows
from harness.leaderboard.table import to_files

RESULTS = Path(__file__).parents[2] / "results"
TABLES = [path.with_suffix(".csv") for path in sorted(RESULTS.glob("*.md"))]


@pytest.mark.parametrize("table", TABLES, ids=[table.stem for table in TABLES])
def test_a_committed_table_is_derived_from_committed_rows(table: Path) -> None:
    benchmark, _, suite = table.stem.partition("-")
    name, found = find_suite(benchmark, suite or None)
    entries = {entry.evaluate.key: entry.name for entry in found.entries}
    rows = read_rows(benchmark, name, entries, RESULTS)
    assert {row.key: row.entry for row in rows} == entries
    for ending, text in (to_files(rows) | to_svgs(rows)).items():
        assert table.with_name(f"{table.stem}{ending}").read_text() == text


def test_there_is_a_record() -> None:
    assert "digits" in {table.stem for table in TABLES}
