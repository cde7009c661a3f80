"""Tables: derived from rows, the same bytes each time, honest about what is not known."""

import csv
import dataclasses
import io
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.leaderboard.rows import read_rows
from harness.leaderboard.table import to_csv, to_markdown, to_text, write_tables
from harness.row import Row, from_json, to_json

ROW = Row(
    benchmark="toy", suite="full", entry="a | b", position=0, dataset="d", seed=3,
    top1=91.5, top1_low=89.25, top1_high=93.5, top5=99.0, n=1000,
    parameters=12345, nonzeros=1234, sparsity=0.9, macs=10**9,
    promised=None, source=None, key="ab" * 32, fingerprint="cd" * 32, ranks=4, device="cpu",
    git_hash=None, git_dirty=None, versions={"torch": "2.13.0", "python": "3.11.7"},
)  # fmt: skip
LATER = dataclasses.replace(ROW, entry="c", position=1, key="ef" * 32, promised=92.0, source="a paper")
SMOKE = dataclasses.replace(ROW, suite="smoke", key="01" * 32)
KEYS = {ROW.key, LATER.key}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "rows" / "toy"
    folder.mkdir(parents=True)
    for row in (LATER, ROW, SMOKE):
        (folder / f"{row.key}.json").write_text(to_json(row))
    return tmp_path


def test_rows_come_back_in_the_order_of_their_suite(results: Path) -> None:
    assert read_rows("toy", KEYS, results) == [ROW, LATER]


def test_a_row_of_an_earlier_recipe_stays_out_of_the_table(results: Path) -> None:
    assert read_rows("toy", {LATER.key}, results) == [LATER]


def test_tables_are_the_same_bytes_each_time(results: Path) -> None:
    def write() -> list[bytes]:
        rows = read_rows("toy", KEYS, results)
        return [p.read_bytes() for p in write_tables("toy", "full", rows, results, default_suite="full")]

    assert write() == write()
    assert {p.name for p in results.glob("*.*")} == {"toy.csv", "toy.md"}


def test_another_suite_has_tables_of_its_own(results: Path) -> None:
    paths = write_tables("toy", "smoke", read_rows("toy", {SMOKE.key}, results), results, default_suite="full")
    assert [p.name for p in paths] == ["toy-smoke.csv", "toy-smoke.md"]


def test_the_csv_holds_every_field_and_blanks_for_what_is_not_established() -> None:
    first, second = csv.DictReader(io.StringIO(to_csv([ROW, LATER])))
    assert set(first) == {f.name for f in dataclasses.fields(Row)} - {"versions"} | {"version_torch", "version_python"}
    assert (first["entry"], first["promised"], first["git_hash"], first["version_torch"]) == ("a | b", "", "", "2.13.0")
    assert (second["promised"], second["n"], second["nonzeros"]) == ("92.0", "1000", "1234")


def test_the_markdown_escapes_names_and_shows_the_interval() -> None:
    lines = to_markdown([ROW, LATER]).splitlines()
    assert lines[0].startswith("| entry | top-1 % ↑ | 95 % interval | top-5 % ↑ | n | parameters ↓ |")
    assert lines[2].startswith("| a \\| b | 91.50 | 89.25 .. 93.50 | 99.00 | 1000 |")
    assert lines[2].endswith("| 3 |  |")
    assert lines[3].endswith("| 3 | 92.00 |")


def test_the_terminal_gets_aligned_columns() -> None:
    lines = to_text([ROW, LATER]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("a | b ")


def test_a_row_survives_json_and_refuses_what_it_should() -> None:
    assert from_json(to_json(ROW)) == ROW
    with pytest.raises(UserError, match="top1 is nan"):
        to_json(dataclasses.replace(ROW, top1=float("nan")))
    with pytest.raises(UserError, match="not a result row"):
        from_json('{"entry": "x"}')


def test_a_file_that_is_no_row_is_named(results: Path) -> None:
    (results / "rows" / "toy" / "zz.json").write_text("{")
    with pytest.raises(UserError, match=r"zz\.json: not a result row"):
        read_rows("toy", KEYS, results)
