"""How the entries of all tables are called.

Lives here: `percent`. Must not: anything but text.
"""


def percent(share: float) -> str:
    """`79 %` of 0.79."""
    return f"{100 * share:.0f} %"
