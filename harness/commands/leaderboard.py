"""`harness leaderboard`: rows from finished evaluations, tables from rows.

Lives here: the command, and drawing a suite's table at the end of a launch. Must not: rows and tables themselves
(`harness.leaderboard`).
"""

import argparse
from pathlib import Path

from harness.benchmark import Suite, find_suite
from harness.commands._arguments import Commands, add_table
from harness.store import Store


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("leaderboard", help="collect finished rows and derive the tables again")
    add_table(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Collect what is finished and derive the tables again."""
    name, suite = find_suite(options.benchmark, options.suite, options.seeds)
    draw(options.benchmark, name, suite, Store(options.store), options.results)


def draw(benchmark: str, suite_name: str, suite: Suite, store: Store, results: Path) -> None:
    """Rows from finished evaluations, tables from rows, and the table on the terminal."""
    from harness.leaderboard.rows import collect, read_rows
    from harness.leaderboard.table import to_text, write_tables

    default_suite, _ = find_suite(benchmark, None)
    unfinished = collect(benchmark, suite_name, suite, store, results)
    keys = {entry.evaluate.key for entry in suite.entries}
    rows = read_rows(benchmark, suite_name, keys, results)
    paths = write_tables(benchmark, suite_name, rows, results, default_suite=default_suite)
    print(to_text(rows))
    print(f"{len(rows)} rows, {unfinished} unfinished; written: {', '.join(str(path) for path in paths)}")
