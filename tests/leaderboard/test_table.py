"""Tables: derived from rows, the same bytes each time, honest about what is not known."""

import csv
import dataclasses
import io
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.leaderboard.table import footer, to_csv, to_files, to_markdown, to_text, write_tables
from harness.row import Row
from tests.leaderboard.toy import ROW, over_seeds

LATER = dataclasses.replace(ROW, entry="c", position=1, key="ef" * 32, promised=92.0, source="a paper")
SEEDS = [
    *over_seeds("dense", 0, [90.0, 91.0, 92.0]),
    *over_seeds("a | b", 1, [92.0, 92.5, 94.0], against=["dense"], agreement=95.0, teacher_nonzeros=77),
]


def test_tables_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    def write(rows: list[Row]) -> list[bytes]:
        return [path.read_bytes() for path in write_tables("toy", "full", rows, tmp_path, default_suite="full")]

    assert write(SEEDS) == write(SEEDS)
    assert {path.name for path in tmp_path.iterdir()} == {
        "toy.csv", "toy-summary.csv", "toy-comparisons.csv", "toy.md",
    }  # fmt: skip


def test_another_suite_has_tables_of_its_own(tmp_path: Path) -> None:
    paths = write_tables("toy", "smoke", [ROW], tmp_path, default_suite="full")
    assert [path.name for path in paths] == ["toy-smoke.csv", "toy-smoke-summary.csv", "toy-smoke.md"], (
        "there is nothing to compare"
    )


def test_a_table_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no rows of toy \(full\) .* launch it first"):
        write_tables("toy", "full", [], tmp_path, default_suite="full")


def test_the_csv_holds_every_field_and_blanks_for_what_is_not_established() -> None:
    first, second = csv.DictReader(io.StringIO(to_csv([ROW, LATER])))
    nested = {"versions", "stages"}
    assert set(first) == {f.name for f in dataclasses.fields(Row)} - nested | {"version_torch", "version_python"}
    assert (first["promised"], first["git_hash"], first["version_torch"]) == ("", "", "2.13.0")
    assert (second["promised"], second["n"], second["nonzeros"]) == ("92.0", "1000", "1234")


def test_whole_numbers_stay_whole_beside_blanks() -> None:
    rows = [ROW, dataclasses.replace(LATER, teacher_nonzeros=77)]
    for text in (to_csv(rows), to_files(rows)["-summary.csv"]):
        assert [line["teacher_nonzeros"] for line in csv.DictReader(io.StringIO(text))] == ["", "77"]


def test_the_summary_has_a_line_for_each_entry() -> None:
    dense, other = csv.DictReader(io.StringIO(to_files(SEEDS)["-summary.csv"]))
    assert (dense["entry"], dense["seeds"], dense["top1"], dense["agreement"]) == ("dense", "3", "91.0", "")
    assert (other["entry"], other["top1"], other["agreement"]) == ("a | b", "92.8333", "95.0")


def test_comparisons_are_a_file_of_their_own() -> None:
    (line,) = csv.DictReader(io.StringIO(to_files(SEEDS)["-comparisons.csv"]))
    assert (line["entry"], line["against"], line["seeds"]) == ("a | b", "dense", "3")
    assert (line["difference"], line["difference_low"], line["verdict"]) == ("1.8333", "1.1162", "shown")
    assert [row["against"] for row in csv.DictReader(io.StringIO(to_csv(SEEDS)))] == [""] * 3 + ["dense"] * 3


def test_a_person_reads_accuracy_then_size_then_cost() -> None:
    head, _, dense, other = to_markdown(SEEDS).split("\n\n")[0].splitlines()
    assert head == (
        "| entry | top-1 % ↑ | sd | 95 % interval | seeds | images | parameters ↓ | nonzeros ↓ | teacher's nonzeros"
        " | MACs ↓ | image passes ↓ | device seconds ↓ |"
    )
    assert dense.startswith("| dense | 91.00 | 1.00 | 88.52 .. 93.48 | 3 | 1,000 | 12,345 | 1,234 |  | 1,000,000,000 |")
    assert dense.endswith("| 4,000 | 80 |")
    assert other.startswith("| a \\| b | 92.83 | 1.04 |")


def test_below_stands_whether_an_entry_beats_another() -> None:
    head, _, line = to_markdown(SEEDS).split("\n\n")[1].splitlines()
    assert head == "| entry | against | seeds of both | difference | 95 % interval | verdict |"
    assert line == "| a \\| b | dense | 3 | +1.83 | +1.12 .. +2.55 | shown |"
    assert len(to_markdown(SEEDS[:3]).split("\n\n")) == len(to_markdown(SEEDS).split("\n\n")) - 1


def test_columns_that_nobody_fills_are_left_out() -> None:
    head = to_markdown([ROW]).splitlines()[0]
    assert not {"sd", "promised", "teacher's nonzeros"} & set(head.split(" | "))
    line = to_markdown([ROW, LATER]).splitlines()[3]
    assert "| 1,000 | 92.00 | -0.50 | 12,345 |" in line


def test_what_networks_say_is_a_table_of_its_own() -> None:
    head, _, dense, other = to_markdown(SEEDS).split("\n\n")[2].splitlines()
    assert head == "| entry | confidence | entropy | NLL ↓ | ECE ↓ | margin | agreement % |"
    assert dense == "| dense | 0.9000 | 0.2500 | 0.3000 | 0.0200 | 0.8000 |  |"
    assert other == "| a \\| b | 0.9000 | 0.2500 | 0.3000 | 0.0200 | 0.8000 | 95.00 |"


def test_below_stands_what_holds_for_all_and_what_it_cost() -> None:
    rows = [ROW, dataclasses.replace(LATER, protocol="a tenth of the epochs", epoch_rule="best on minival")]
    assert to_markdown(rows).endswith("\n\n" + footer(rows))
    line = footer(rows)
    assert line.startswith("Protocol: a tenth of the epochs. Epoch kept: best on minival, last. 95 % intervals:")
    assert "4,000 image passes and 80 device seconds, shared stages counted once" in line
    assert line.endswith("; 8,000 and 160 if every entry had been run by itself.\n")
    assert footer([ROW]).startswith("Epoch kept: last.")


def test_the_terminal_gets_aligned_columns() -> None:
    for table in to_text(SEEDS).split("\n\n")[:3]:
        lines = table.splitlines()
        assert len({len(line) for line in lines}) == 1
        assert lines[-1].startswith("a | b ")
