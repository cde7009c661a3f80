"""The two ways a command ends badly; every other exception is a defect.

Lives here: exception types. Must not: handling (`harness.cli` turns these into one line and an exit code).
"""


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what to do. Exit code 2."""


class StageError(Exception):
    """A stage failed by itself (a loss that is not finite, a wrong total). Nothing was published. Exit code 1."""
