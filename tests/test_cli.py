"""The command line knows its commands."""

import pytest

from harness.cli import COMMANDS, main


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        assert f"\n    {name}" in told
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert f"usage: harness {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["lunch"], ["launch"], ["launch", "digits", "--node", "x"]])
def test_what_is_no_command_is_bad_input(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
