"""`python -m benchmarks.speed`: what a reader types, and what is left when a measurement fails."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.speed import __main__ as command
from benchmarks.speed.measurement import Measurement
from harness.benchmark import find_suite
from harness.errors import StageError, UserError

ROOT = Path(__file__).parents[2]


def measurement(name: str) -> Measurement:
    return Measurement(
        name=name, setting="", baseline="b", means="times as fast", aim=1, unit="s", ours=[1.0], baseline_took=[2.0]
    )


def install(monkeypatch: pytest.MonkeyPatch, **subjects: object) -> None:
    """Let the command know these subjects and no others."""
    monkeypatch.setattr(command, "SUBJECTS", tuple(subjects))
    for name, measure in subjects.items():
        monkeypatch.setitem(sys.modules, f"benchmarks.speed.{name}", SimpleNamespace(measure=measure))


def test_an_unknown_subject_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "benchmarks.speed", "nonsense", "--results", str(tmp_path)]
    ended = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == f"error: unknown subject 'nonsense': known are {', '.join(command.SUBJECTS)}\n"
    assert list(tmp_path.iterdir()) == []


def test_every_subject_is_a_module_that_measures() -> None:
    for name in command.SUBJECTS:
        assert (
            "\ndef measure(scratch: Path, data: Path | None) -> Iterator[Measurement]:\n"
            in (ROOT / "benchmarks" / "speed" / f"{name}.py").read_text()
        )


def test_a_subject_is_given_an_empty_folder_and_the_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []

    def measure(scratch: Path, data: Path | None) -> Iterator[Measurement]:
        given.append((scratch, list(scratch.iterdir()), data))
        yield measurement("one")

    install(monkeypatch, first=measure, second=measure)
    assert command.main(["second", "--data", "photos", "--results", str(tmp_path)]) == 0
    ((scratch, content, data),) = given
    assert (content, data, scratch.exists()) == ([], Path("photos"), False)
    assert capsys.readouterr().out.startswith("one ")


def test_a_subject_that_fails_costs_no_row_that_was_measured_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def good(scratch: Path, data: Path | None) -> Iterator[Measurement]:
        yield measurement("good")

    def bad(scratch: Path, data: Path | None) -> Iterator[Measurement]:
        yield measurement("half")
        raise StageError("the sides differ")

    install(monkeypatch, good=good, bad=bad)
    assert command.main(["--results", str(tmp_path)]) == 1
    lines = (tmp_path / "speed.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["measurement", "good", "half"]
    assert capsys.readouterr().err == "failed: the sides differ\n"


def test_measurements_are_not_taken_for_a_benchmark() -> None:
    with pytest.raises(UserError, match="unknown benchmark 'speed'"):
        find_suite("speed", None)
