"""Every bad end of a command is one line and a code that a batch file can tell apart."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import GAVE_UP, TRY_AGAIN, GaveUpError, StageError, Stopped, UserError, exit_code

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no such folder"), 2, "error: no such folder"),
        (StageError("the loss is nan"), 1, "failed: the loss is nan"),
        (GaveUpError("no space"), GAVE_UP, "given up: no space"),
        (Stopped("the time is over"), TRY_AGAIN, "stopped: the time is over"),
        (KeyboardInterrupt(), 130,
         "interrupted: the same command goes on from what is finished and the last checkpoint"),
        (ModuleNotFoundError("No module named 'submitit'"), 2,
         "error: No module named 'submitit': run `make setup`, then `. .venv/bin/activate`"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_a_bad_end_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error

    assert exit_code(work) == code
    assert capsys.readouterr().err == f"{line}\n"


def test_a_good_end_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: None) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("letters", [1, 1_000_000])
def test_a_reader_that_has_seen_enough_is_no_trouble(letters: int) -> None:
    program = f"import sys; from harness.errors import exit_code; sys.exit(exit_code(lambda: print({letters} * 'x')))"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None and writer.stderr is not None
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == 141


def test_a_defect_is_not_hidden() -> None:
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_code(work)
