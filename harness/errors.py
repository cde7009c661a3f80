"""The two ways a command ends badly, as one line and an exit code; every other exception is a defect.

Lives here: exception types and `exit_code`. Must not: anything that raises them.
"""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what to do. Exit code 2."""


class StageError(Exception):
    """A stage failed by itself (a loss that is not finite, a wrong total). Nothing was published. Exit code 1."""


def exit_code(work: Callable[[], None]) -> int:
    """Do the work. 0: done; 2: bad input; 1: a stage failed; 130: interrupted. A bad end gets one line on stderr."""
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {error}: run `make setup`, then `. .venv/bin/activate`", file=sys.stderr)
        return 2
    except StageError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from what is finished and the last checkpoint", file=sys.stderr)
        return 130
    return 0
