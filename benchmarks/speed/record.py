"""The record of all measurements: one row each, with the machine and the versions it was taken with.

Lives here: `circumstances`, `record`. Must not: measuring, dates.
"""

import csv
import io
import os
import platform
from pathlib import Path

from benchmarks.speed.measurement import Measurement
from harness.errors import UserError
from harness.provenance import provenance
from harness.store import replace_file

Row = dict[str, str]


def record(path: Path, measurement: Measurement, facts: Row) -> None:
    """Put the measurement's row in place of the one of its name; rows stay in the order of names.

    Raises UserError if the file at `path` has other columns.
    """
    row = measurement.row() | facts
    rows = {other["measurement"]: other for other in _read(path, list(row))} | {measurement.name: row}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[name] for name in sorted(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.getvalue())


def circumstances() -> Row:
    """Machine, usable cores, versions and commit. Ask before the first row is written: a new row is a change, too."""
    facts = provenance(device="cpu")
    versions = facts["versions"]
    names = ("python", "torch", "torchvision", "ffcv", "deepspeed")
    return {
        "machine": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        **{f"version_{name}": str(versions[name]) for name in names},
        "git_hash": str(facts["git_hash"]),
        "git_dirty": str(facts["git_dirty"]),
    }


def _read(path: Path, columns: list[str]) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or ()) != columns:
            raise UserError(f"{path} has other columns than are written now: move it away and measure again")
        return list(reader)


def _processor() -> str:
    """The name the processor gives itself, as Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        field, _, value = line.partition(":")
        if field.strip() == "model name":
            return value.strip()
    return platform.machine()
