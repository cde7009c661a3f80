"""Text of others on a terminal: journals and logs are data, and data must not steer it.

Lives here: making control characters visible, moments, lists that are cut short. Must not: what is printed.
"""

import time
from collections.abc import Sequence

_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n\r"}
_LONG_FORMS = {code: f"␛{chr(code - 0x40)}" for code in range(0x80, 0xA0)}
_MARKS = {**_PICTURES, 0x7F: "␡", **_LONG_FORMS}
"""ASCII's controls by their pictures; those of ISO 6429 as the escape sequences that they abbreviate."""


def visible(text: str) -> str:
    """The text with a mark for every control character that may steer a terminal; tabs and line ends pass."""
    return text.translate(_MARKS)


def moment(seconds: float) -> str:
    """A Unix time as a person reads it, `2026-03-01 14:05`; question marks if it is no time of any clock."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "????-??-?? ??:??"


def cut(lines: Sequence[str], limit: int | None) -> list[str]:
    """The first `limit` lines, then a count of the rest; all of them without a limit."""
    if limit is None or len(lines) <= limit:
        return list(lines)
    return [*lines[:limit], f"  ... and {len(lines) - limit:,} more"]
