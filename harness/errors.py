"""The ways a command ends badly, as one line and an exit code; every other exception is a defect.

Lives here: exception types and `exit_code`. Must not: anything that raises them.
"""

import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what to do. Exit code 2."""


class StageError(Exception):
    """A stage failed by itself (a loss that is not finite, a wrong total). Nothing was published. Exit code 1."""


class GaveUpError(StageError):
    """A stage failed as often as its launch allows. Exit code 70."""


class Stopped(Exception):
    """The attempt ends in order to go on later: the machine is taken away, say. Exit code 75."""


TRY_AGAIN, GAVE_UP = 75, 70
"""A temporary failure, after which a batch file puts its job back into the queue, and one that stays (sysexits.h)."""
NOBODY_READS = 141
"""What a shell says of a program that SIGPIPE has ended."""


def exit_code(work: Callable[[], None]) -> int:
    """Do the work. 0: done; 2: bad input; 1: a stage failed; 70: too often; 75: to be tried again; 130: interrupted.

    A bad end gets one line on stderr. 141, without a word: nobody reads the output any more.
    """
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the interpreter's last flush goes
        return NOBODY_READS
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {error}: run `make setup`, then `. .venv/bin/activate`", file=sys.stderr)
        return 2
    except GaveUpError as error:
        print(f"given up: {error}", file=sys.stderr)
        return GAVE_UP
    except StageError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return TRY_AGAIN
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from what is finished and the last checkpoint", file=sys.stderr)
        return 130
    return 0
