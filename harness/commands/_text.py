"""Text of others on a terminal: journals and logs are data, and data must not steer it.

Lives here: making escapes visible, lists that are cut short. Must not: what is printed.
"""

from collections.abc import Sequence

_ESCAPES = str.maketrans({"\x1b": "␛", "\x9b": "␛"})


def visible(text: str) -> str:
    """The text with every terminal escape replaced by a mark; other control characters pass."""
    return text.translate(_ESCAPES)


def cut(lines: Sequence[str], limit: int | None) -> list[str]:
    """The first `limit` lines, then a count of the rest; all of them without a limit."""
    if limit is None or len(lines) <= limit:
        return list(lines)
    return [*lines[:limit], f"  ... and {len(lines) - limit:,} more"]
