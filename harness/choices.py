"""Fields that take one of a few words.

Lives here: `require_choices`. Must not: what the words mean.
"""

import dataclasses
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
