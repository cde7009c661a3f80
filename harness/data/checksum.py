"""Whether a file is still what it was when it was made.

Lives here: `checksum` and `verify`. Must not: what is done with the file.

The data format has no checksums of its own: a damaged file would be read as other pictures, without a word.
"""

import hashlib
from pathlib import Path

from harness.data._once import once_per_file
from harness.errors import UserError


def checksum(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, expected: str) -> None:
    """Raise UserError unless the file's checksum is `expected`. Reads a file once per process while it is unchanged."""
    found = _remembered_checksum(path)
    if found != expected:
        raise UserError(f"{path} is damaged: sha256 is {found}, its manifest says {expected}; delete it and run again")


_remembered_checksum = once_per_file(checksum)
