"""Work that is done once per process for a file, and again only if the file changes.

Lives here: `once_per_file`. Must not: the work.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness.errors import UserError

Result = TypeVar("Result")


def once_per_file(work: Callable[[Path], Result]) -> Callable[[Path], Result]:
    """`work` with a memory. Raises UserError if the file is missing."""
    known: dict[tuple[Path, int, int, int], Result] = {}

    def remembered(path: Path) -> Result:
        try:
            state = path.stat()
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing: run the stage that prepares it again") from error
        key = (path, state.st_ino, state.st_size, state.st_mtime_ns)
        if key not in known:
            known[key] = work(path)
        return known[key]

    return remembered
