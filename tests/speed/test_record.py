"""results/speed.csv: a measurement taken again takes its old row's place, and nothing else changes."""

import csv
import os
from pathlib import Path

import pytest

from benchmarks.speed.measurement import Measurement
from benchmarks.speed.record import circumstances, record
from harness.errors import UserError

FACTS = {"machine": "any", "cores": "2"}


def take(name: str, ours: float = 1.0) -> Measurement:
    return Measurement(
        name=name, setting="", baseline="b", means="times as fast", aim=1, unit="s", ours=[ours], baseline_took=[2.0]
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "results" / "speed.csv"
    record(path, take("stream: 1"), FACTS)
    record(path, take("loader: 1"), FACTS)
    return path


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["measurement"]: row for row in csv.DictReader(file)}


def test_rows_are_ordered_by_name_whatever_was_measured_first(table: Path) -> None:
    assert list(rows(table)) == ["loader: 1", "stream: 1"]


def test_a_new_measurement_replaces_its_own_row_alone(table: Path) -> None:
    before = rows(table)
    record(table, take("loader: 1", ours=4.0), FACTS | {"machine": "a faster one"})
    after = rows(table)
    assert list(after) == list(before)
    assert after["stream: 1"] == before["stream: 1"]
    assert (after["loader: 1"]["ratio_median"], after["loader: 1"]["machine"]) == ("0.5", "a faster one")


def test_measured_alike_the_file_is_the_same_byte_for_byte(table: Path) -> None:
    before = table.read_bytes()
    record(table, take("stream: 1"), FACTS)
    assert table.read_bytes() == before


def test_a_writer_that_dies_leaves_the_old_table_whole(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(source: str, target: str) -> None:
        raise KeyboardInterrupt

    before = table.read_bytes()
    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        record(table, take("loader: 1", ours=4.0), FACTS)
    assert table.read_bytes() == before
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_a_table_with_other_columns_is_left_alone(table: Path) -> None:
    before = table.read_bytes()
    with pytest.raises(UserError, match=r"speed.csv has other columns .* move it away"):
        record(table, take("loader: 1"), FACTS | {"colour": "blue"})
    assert table.read_bytes() == before


def test_circumstances_name_the_machine_and_every_version_and_no_date() -> None:
    facts = circumstances()
    assert list(facts) == [
        "machine", "cores", "version_python", "version_torch", "version_torchvision", "version_ffcv",
        "version_deepspeed", "git_hash", "git_dirty",
    ]  # fmt: skip
    assert "" not in facts.values()
    assert int(facts["cores"]) >= 1
    assert circumstances() == facts
