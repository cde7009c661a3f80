"""Being told that the machine goes: at once, or when there was time to save."""

import pytest

from harness.ending import Ending
from harness.errors import Stopped


def test_an_attempt_ends_at_once_unless_somebody_saves_first() -> None:
    ending = Ending()
    with pytest.raises(Stopped, match="the time is over"):
        ending.ask("the time is over")
    assert ending.reason == "the time is over"


def test_who_saves_first_is_not_interrupted_and_sees_the_reason() -> None:
    ending = Ending()
    with ending.deferred():
        assert ending.reason is None
        ending.ask("the time is over")
        assert ending.reason == "the time is over"
    with pytest.raises(Stopped):
        ending.ask("again")


def test_a_failure_meanwhile_leaves_nobody_deferred() -> None:
    ending = Ending()
    with pytest.raises(ZeroDivisionError), ending.deferred():
        raise ZeroDivisionError
    with pytest.raises(Stopped):
        ending.ask("the time is over")
