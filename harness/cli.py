"""The `harness` command.

Lives here: which commands there are, exit codes. Must not: what a command does (`harness.commands`).
"""

import argparse
import sys
from collections.abc import Sequence

from harness.commands import cancel, data, launch, leaderboard, logs, simulate, status, why
from harness.errors import exit_code

COMMANDS = (launch, status, logs, why, cancel, leaderboard, simulate, data)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; see `harness.errors.exit_code`."""
    words = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(words, argparse.Namespace(words=words))
    return exit_code(lambda: options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="harness", description="Benchmarks for pruning and knowledge distillation.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
