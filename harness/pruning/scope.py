"""How a sparsity is spread over the layers, as a word.

Lives here: `Scope`, and which sparsity goes with which. Must not: torch; masks (`harness.pruning.allocation`).
"""

from typing import Literal

from harness.errors import UserError

Scope = Literal["global", "layer", "uniform", "erk", "2:4", "1:4", "4:8"]
"""`global`: one threshold for all layers. `layer`: the same sparsity in each. `uniform`: the same too, but the first
layer stays dense. `erk`: Erdos-Renyi-Kernel. `n:m`: n of every m neighbouring inputs stay."""


def n_of_m(scope: Scope) -> tuple[int, int] | None:
    """(2, 4) of "2:4"; None if the scope is no such pattern."""
    n, _, m = scope.partition(":")
    return (int(n), int(m)) if m else None


def require_sparsity(sparsity: float, scope: Scope = "global") -> None:
    """Raise UserError if the sparsity is no share between 0 and 1, or is not that of the scope's n:m pattern."""
    if not 0 < sparsity < 1:
        raise UserError(f"sparsity {sparsity} is not between 0 and 1: it is the fraction of weights to remove, 0.8 say")
    pattern = n_of_m(scope)
    if pattern and sparsity != (own := 1 - pattern[0] / pattern[1]):
        raise UserError(f"scope {scope!r} removes {own} of the weights, not {sparsity}: write sparsity={own}")
