"""What the fields of a spec may hold: one of a few words, or a number within bounds.

Lives here: `require_choices` for words, `require_positive` and its like for numbers. Must not: what they mean.
"""

import dataclasses
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Literal, get_args, get_origin, get_type_hints

from harness.errors import UserError
from harness.plugins import did_you_mean


def require_choices(spec: Any) -> None:
    """Raise UserError if a `Literal` field of a dataclass holds something else: a misspelt word must not get a key."""
    hints = get_type_hints(type(spec))
    for field in dataclasses.fields(spec):
        hint, value = hints[field.name], getattr(spec, field.name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            known = [str(word) for word in get_args(hint)]
            raise UserError(f"unknown {field.name} {value!r} in {type(spec).__name__}{did_you_mean(str(value), known)}")


def require_positive(spec: Any, *names: str) -> None:
    """Raise UserError unless these fields of a dataclass are finite numbers above 0."""
    _require(spec, names, lambda value: 0 < value < inf, "a number above 0")


def require_not_negative(spec: Any, *names: str) -> None:
    """Raise UserError unless these fields of a dataclass are finite numbers, 0 or above."""
    _require(spec, names, lambda value: 0 <= value < inf, "0 or a number above it")


def require_share(spec: Any, *names: str) -> None:
    """Raise UserError unless these fields of a dataclass are numbers from 0 to 1."""
    _require(spec, names, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def _require(spec: Any, names: Sequence[str], holds: Callable[[float], bool], wanted: str) -> None:
    for name in names:
        value = getattr(spec, name)
        if not holds(value):
            raise UserError(f"{name} of {type(spec).__name__} is {value}: give it {wanted}")
