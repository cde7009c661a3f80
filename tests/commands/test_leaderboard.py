"""Which table is drawn."""

import pytest

from harness.cli import main


def test_no_seeds_are_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["leaderboard", "digits", "--seeds", "0"])
    assert "'0' is not a positive whole number" in capsys.readouterr().err
