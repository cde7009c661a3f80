"""Every bad end of a command is one line and a code that a batch file can tell apart."""

import pytest

from harness.errors import TRY_AGAIN, GaveUpError, StageError, Stopped, UserError, exit_code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no such folder"), 2, "error: no such folder"),
        (StageError("the loss is nan"), 1, "failed: the loss is nan"),
        (GaveUpError("failed 3 times"), 1, "failed: failed 3 times"),
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


def test_a_defect_is_not_hidden() -> None:
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_code(work)
