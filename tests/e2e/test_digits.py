"""The embedded benchmark as a newcomer runs it, and again."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def launch(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "launch/digits.py", "--executor", "local"]
    command += ["--store", str(folder / "store"), "--results", str(folder / "results")]
    return subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the benchmark has been run once."""
    folder = tmp_path_factory.mktemp("digits")
    done = launch(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(line.startswith("dense teacher ") for line in done.stdout.splitlines())
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, dict[str, str]]:
    """The lines of the CSV by entry."""
    with open(folder / "results" / "digits.csv") as file:
        return {row["entry"]: row for row in csv.DictReader(file)}


def test_the_dense_teacher_reads_97_percent_of_the_held_out_digits(rows: dict[str, dict[str, str]]) -> None:
    dense = rows["dense teacher"]
    assert float(dense["top1"]) >= 97
    assert int(dense["n"]) == 360
    assert float(dense["top1_low"]) < float(dense["top1"]) < float(dense["top1_high"])


def test_the_pruned_teachers_have_the_promised_sparsities(rows: dict[str, dict[str, str]]) -> None:
    assert float(rows["pruned teacher, 36 %"]["sparsity"]) == pytest.approx(0.36, abs=1e-4)
    assert float(rows["pruned teacher, 59 %"]["sparsity"]) == pytest.approx(0.5904, abs=1e-4)
    for entry in ("pruned teacher, 36 %", "pruned teacher, 59 %"):
        assert float(rows[entry]["top1"]) > 90


def test_channels_and_students_are_really_smaller(rows: dict[str, dict[str, str]]) -> None:
    dense = rows["dense teacher"]
    thin = rows["channel-pruned teacher, half of the channels"]
    assert int(thin["macs"]) < 0.4 * int(dense["macs"])
    assert float(thin["top1"]) > 90
    formed, teacher = rows["formed student alone"], rows["pruned teacher, 59 %"]
    assert int(formed["parameters"]) == pytest.approx(int(teacher["nonzeros"]), rel=0.02)


def test_students_are_alone_and_distilled_from_both_teachers(rows: dict[str, dict[str, str]]) -> None:
    for student in ("student", "formed student"):
        for how in ("alone", "from the dense teacher", "from the pruned teacher, 59 %"):
            assert float(rows[f"{student} {how}"]["top1"]) > 80


def test_a_second_run_trains_nothing_and_writes_the_same_bytes(folder: Path) -> None:
    def snapshot() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted((folder / "results").rglob("*")) if p.is_file()}

    def artefacts() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in (folder / "store").rglob("manifest.json")}

    before, made, started = snapshot(), artefacts(), time.monotonic()
    again = launch(folder)
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - started < 15
    assert "0 to run" in again.stdout
    assert (snapshot(), artefacts()) == (before, made)


def test_tables_are_derived_from_rows_alone(folder: Path, tmp_path: Path) -> None:
    table = folder / "results" / "digits.csv"
    before = table.read_bytes()
    table.unlink()
    command = [sys.executable, "-m", "harness.cli", "leaderboard", "digits", "--store", str(tmp_path / "none")]
    done = subprocess.run([*command, "--results", str(folder / "results")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert table.read_bytes() == before
