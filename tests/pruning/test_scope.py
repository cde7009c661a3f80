"""A user writes a scope into a plan, on a machine without torch."""

import subprocess
import sys

import pytest

from harness.errors import UserError
from harness.pruning.scope import Scope, n_of_m, require_sparsity


def test_a_pattern_is_read_from_its_name() -> None:
    assert (n_of_m("2:4"), n_of_m("1:4"), n_of_m("4:8")) == ((2, 4), (1, 4), (4, 8))
    assert n_of_m("erk") is None


@pytest.mark.parametrize(("scope", "sparsity"), [("2:4", 0.5), ("1:4", 0.75), ("4:8", 0.5), ("erk", 0.123)])
def test_a_sparsity_that_fits_passes(scope: Scope, sparsity: float) -> None:
    require_sparsity(sparsity, scope)


def test_a_sparsity_that_does_not_fit_is_refused_with_the_one_that_does() -> None:
    with pytest.raises(UserError, match=r"write sparsity=0\.75"):
        require_sparsity(0.5, "1:4")


def test_naming_a_scope_does_not_load_torch() -> None:
    code = "import harness.pruning.scope, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
