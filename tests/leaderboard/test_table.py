"""Tables: derived from rows, the same bytes each time, honest about what is not known."""

import csv
import dataclasses
import io
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.leaderboard.figures import to_svgs
from harness.leaderboard.table import footer, to_csv, to_files, to_markdown, to_text, write_tables
from harness.row import Row
from tests.leaderboard.toy import ROW, over_seeds, with_values

LATER = dataclasses.replace(ROW, entry="c", position=1, key="ef" * 32, promised=92.0, source="a paper")
SEEDS = [
    *over_seeds("dense", 0, [90.0, 91.0, 92.0]),
    *over_seeds("a | b", 1, [92.0, 92.5, 94.0], against=["dense"], agreement=95.0, teacher_nonzeros=77),
]
LEARNT = [
    *with_values(SEEDS[:3], train_top1=[96.0, 96.75, 97.5], gap=[6.0, 5.75, 5.5], train_nll=[0.05, 0.06, 0.07]),
    *with_values(SEEDS[3:], train_top1=[95.0, 95.0, 96.75], gap=[3.0, 2.5, 2.75], smoothing=[0.01, 0.01, 0.01]),
]
"""The same, evaluated on their training images too."""


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


def test_figures_lie_beside_the_tables(tmp_path: Path) -> None:
    rows = with_values(SEEDS, losses=[[2.0, 1.0]] * 6)
    assert write_tables("toy", "smoke", rows, tmp_path, default_suite="full")[-1] == tmp_path / "toy-smoke-loss.svg"
    assert (tmp_path / "toy-smoke-loss.svg").read_text() == to_svgs(rows)["-loss.svg"]


def test_a_table_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no rows of toy \(full\) .* launch it first"):
        write_tables("toy", "full", [], tmp_path, default_suite="full")


def test_the_csv_holds_every_field_and_blanks_for_what_is_not_established() -> None:
    first, second = csv.DictReader(io.StringIO(to_csv([ROW, LATER])))
    nested = {"versions", "stages", "layers", "losses"}
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
    assert (other["entry"], other["top1"], other["agreement"]) == ("a | b", "92.833333", "95.0")
    head = list(dense)
    assert head[head.index("nll") :][:4] == ["nll", "nll_sd", "nll_low", "nll_high"]


def test_comparisons_are_a_file_of_their_own() -> None:
    (line,) = csv.DictReader(io.StringIO(to_files(SEEDS)["-comparisons.csv"]))
    assert (line["entry"], line["against"], line["seeds"]) == ("a | b", "dense", "3")
    assert (line["difference"], line["difference_low"], line["verdict"]) == ("1.833333", "1.116225", "shown")
    assert (line["gap_difference"], line["gap_verdict"]) == ("", "")
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
    assert head == (
        "| entry | against | seeds of both | top-1 difference, points | sd | 95 % interval | top-1 is higher |"
    )
    assert line == "| a \\| b | dense | 3 | +1.83 | 0.29 | +1.12 .. +2.55 | shown |"
    assert len(to_markdown(SEEDS[:3]).split("\n\n")) == len(to_markdown(SEEDS).split("\n\n")) - 1


def test_beside_it_stands_whether_it_generalises_better() -> None:
    head, _, line = to_markdown(LEARNT).split("\n\n")[1].splitlines()
    assert head.endswith(
        "| top-1 is higher | gap difference, points | gap's sd | gap's 95 % interval | gap is smaller |"
    )
    assert line.endswith("| shown | -3.00 | 0.25 | -3.62 .. -2.38 | shown |")


def test_columns_that_nobody_fills_are_left_out() -> None:
    head = to_markdown([ROW]).splitlines()[0]
    assert not {"sd", "promised", "teacher's nonzeros"} & set(head.split(" | "))
    line = to_markdown([ROW, LATER]).splitlines()[3]
    assert "| 1,000 | 92.00 | -0.50 | 12,345 |" in line


def test_what_networks_say_is_a_table_of_its_own() -> None:
    """With how sure it is where seeds tell; these have the same values but for the NLL of one entry."""
    rows = [*with_values(SEEDS[:3], nll=[0.3, 0.4, 0.5]), *SEEDS[3:]]
    head, _, dense, other = to_markdown(rows).split("\n\n")[2].splitlines()
    assert head == "| entry, on held-out images | confidence | entropy | NLL ↓ | ECE ↓ | margin | agreement % |"
    assert dense == "| dense | 0.9000 | 0.2500 | 0.4000 ± 0.2484 | 0.0200 | 0.8000 |  |"
    assert other == "| a \\| b | 0.9000 | 0.2500 | 0.3000 | 0.0200 | 0.8000 | 95.00 |"
    assert "| dense | 0.9000 | 0.2500 | 0.3000 |" in to_markdown(rows[:1]), "one seed tells no interval"


def test_what_they_say_of_images_they_have_learnt_is_another() -> None:
    held_out, training, _ = to_markdown(LEARNT).split("\n\n")[2:]
    assert held_out.startswith("| entry, on held-out images |")
    head, _, dense, other = training.splitlines()
    assert head == "| entry, on training images | top-1 % | gap, points ↓ | NLL | smoothing |"
    assert dense == "| dense | 96.75 ± 1.86 | 5.75 ± 0.62 | 0.0600 ± 0.0248 |  |"
    assert other == "| a \\| b | 95.58 ± 2.51 | 2.75 ± 0.62 |  | 0.0100 |"
    assert "on training images" not in to_markdown(SEEDS)


def test_what_a_network_is_like_inside_stands_with_what_it_says() -> None:
    inside = {"compactness": [0.4, 0.5, 0.6], "gradient_flow": [0.9, 0.9, 0.9]}
    held_out, training, _ = to_markdown([*with_values(SEEDS[:3], **inside), *SEEDS[3:]]).split("\n\n")[2:]
    head, _, dense, other = held_out.splitlines()
    assert head.endswith("| margin | compactness ↑ | agreement % |")
    assert dense.endswith("| 0.8000 | 0.5000 ± 0.2484 |  |")
    assert other.endswith("| 0.8000 |  | 95.00 |")
    assert training.splitlines()[0] == "| entry, on training images | gradient flow |"
    assert training.splitlines()[2] == "| dense | 0.9000 |"


def test_where_entries_keep_other_epochs_each_tells_its_own() -> None:
    rows = [ROW, dataclasses.replace(LATER, epoch_rule="best on minival")]
    head, _, dense, other = to_markdown(rows).split("\n\n")[0].splitlines()
    assert head.endswith("| device seconds ↓ | epoch kept |")
    assert dense.endswith("| 80 | last |")
    assert other.endswith("| 80 | best on minival |")
    assert "Epoch kept" not in footer(rows)
    assert "epoch kept" not in to_markdown([ROW])


def test_below_stands_what_holds_for_all_and_what_it_cost() -> None:
    rows = [ROW, dataclasses.replace(LATER, protocol="a tenth of the epochs")]
    assert to_markdown(rows).endswith("\n\n" + footer(rows))
    line = footer(rows)
    assert line.startswith("Protocol: a tenth of the epochs. Epoch kept: last. 95 % intervals ")
    assert "4,000 image passes and 80 device seconds, shared stages counted once" in line
    assert line.endswith("; 8,000 and 160 if every entry had been run by itself.\n")
    assert footer([ROW]).startswith("Epoch kept: last.")


def test_a_reader_is_told_that_published_weights_come_free() -> None:
    stages = {"p": ["pretrained", 0, 0.0], **ROW.stages}
    assert footer([ROW, dataclasses.replace(LATER, stages=stages)]).endswith(" Published weights count as nothing.\n")


def test_the_terminal_gets_aligned_columns() -> None:
    for table in to_text(LEARNT).split("\n\n")[:4]:
        lines = table.splitlines()
        assert len({len(line) for line in lines}) == 1
        assert lines[-1].startswith("a | b ")
