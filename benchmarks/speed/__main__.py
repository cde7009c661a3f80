"""`python -m benchmarks.speed [NAME ...] [--data DIR]`: measure, print a line for each measurement, keep its row.

Lives here: the command and the list of subjects. Must not: measurements.

A subject is a module of this folder with `measure(scratch, data) -> Iterator[Measurement]`: `scratch` is an empty
folder that is removed afterwards, `data` a folder of photographs or None. It sets torch's number of threads itself.
"""

import argparse
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed.record import circumstances, record
from harness.errors import UserError, exit_code
from harness.plugins import did_you_mean

SUBJECTS = ("threshold", "loader", "stream", "training", "distillation", "checkpoint")
RESULTS = Path(__file__).resolve().parents[2] / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `harness.errors.exit_code`."""
    options = _parser().parse_args(argv)
    return exit_code(lambda: measure(options.names or SUBJECTS, options.data, options.results / "speed.csv"))


def measure(names: Sequence[str], data: Path | None, table: Path) -> None:
    """Measure the named subjects one after the other. A row is kept as soon as it is measured."""
    for name in names:
        if name not in SUBJECTS:
            raise UserError(f"unknown subject {name!r}{did_you_mean(name, SUBJECTS)}")
    facts = circumstances()
    for name in names:
        subject = importlib.import_module(f"benchmarks.speed.{name}")
        with tempfile.TemporaryDirectory(prefix="speed-") as scratch:
            for measurement in subject.measure(Path(scratch), data):
                print(measurement.line(), flush=True)
                record(table, measurement, facts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Speed beside public baselines.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SUBJECTS)} (default: all)")
    parser.add_argument("--data", type=Path, help="photographs: train/<class>/* and val/<class>/* (default: made up)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of speed.csv (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
