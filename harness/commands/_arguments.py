"""Arguments that several commands share, and values that argparse has no type for.

Lives here: which suite, which folders. Must not: what a command does with them.
"""

import argparse
import os
from pathlib import Path
from typing import TypeAlias

from harness.placement import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
DATA_HELP = "folder of raw images, as the benchmark wants it: train/<class>/* and val/<class>/*, say"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_store(parser: argparse.ArgumentParser) -> None:
    """Which store."""
    store = Path(os.environ.get("HARNESS_STORE", ROOT / "store"))
    parser.add_argument(
        "--store", type=Path, default=store, help="folder of artefacts (default: $HARNESS_STORE, else %(default)s)"
    )


def add_suite(parser: argparse.ArgumentParser) -> None:
    """Which plan, in which store."""
    parser.add_argument("benchmark", help="a module of benchmarks/")
    parser.add_argument("--suite", help="one of the benchmark's suites; the first by default")
    add_store(parser)


def add_table(parser: argparse.ArgumentParser) -> None:
    """Which table, under how many seeds, and where."""
    add_suite(parser)
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder of rows and tables")
    parser.add_argument(
        "--seeds", type=positive, metavar="N", help="train every entry under seeds 0 .. N-1 (default: the suite's)"
    )


def add_patience(parser: argparse.ArgumentParser) -> None:
    """How long a rank waits."""
    parser.add_argument(
        "--patience", type=positive_number, default=PATIENCE_S, metavar="SECONDS",
        help="end a stage that waits longer for data or another rank (default 60)",
    )  # fmt: skip


def positive_number(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def positive(text: str) -> int:
    """A whole number above 0."""
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)
