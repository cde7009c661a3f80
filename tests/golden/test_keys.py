"""What a benchmark entry means is pinned as text: nobody moves a key or a number unnoticed."""

import pytest

from tests.golden.pin import path, pinned, suites


@pytest.mark.parametrize(("benchmark", "suite"), suites())
def test_keys_and_specs_are_those_that_were_pinned(benchmark: str, suite: str) -> None:
    assert pinned(benchmark, suite) == path(benchmark, suite).read_text(), (
        "a spec or key moved: if that was meant, run `.venv/bin/python -m tests.golden.pin` and review the diff"
    )


def test_every_pinned_text_belongs_to_a_suite() -> None:
    assert {p.name for p in path("", "").parent.glob("*.txt")} == {path(*names).name for names in suites()}
