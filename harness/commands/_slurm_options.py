"""Options of a launch that are about the cluster.

Lives here: what can be typed, and how it goes before the cluster's profile. Must not: the profile's file
(`harness.profile`), batch files.
"""

import argparse
import dataclasses

from harness.commands._arguments import positive
from harness.errors import UserError
from harness.placement import MINUTES, TRIES
from harness.profile import Profile, read_profile, sbatch_options

_TYPED = ("partition", "account", "qos", "constraint", "minutes", "max_jobs")


def add_slurm(parser: argparse.ArgumentParser) -> None:
    """Add them to the command line."""
    site = parser.add_argument_group("Slurm")
    site.add_argument(
        "--profile", metavar="NAME",
        help="table of ~/.config/harness/clusters.toml, or FILE.toml:NAME (default: its table [default], if any)",
    )  # fmt: skip
    site.add_argument("--minutes", type=positive, help=f"time limit of a job (default {MINUTES}, a day)")
    for name in ("partition", "account", "qos", "constraint"):
        site.add_argument(f"--{name}")
    site.add_argument("--max-jobs", type=positive, metavar="N", help="jobs of each array that run at a time")
    site.add_argument(
        "--tries", type=positive, default=TRIES, metavar="N",
        help=f"attempts in a row that a stage may fail without progress (default {TRIES})",
    )  # fmt: skip
    site.add_argument("--sbatch", action="append", default=[], metavar="KEY=VALUE", help="any other option of sbatch")
    site.add_argument(
        "--setup",
        action="append",
        default=[],
        metavar="LINE",
        help="shell line before the job's command; kept in the store",
    )


def make_profile(options: argparse.Namespace) -> Profile:
    """The cluster's profile, overridden by what was typed. Raises UserError."""
    profile = read_profile(options.profile)
    typed = {name: value for name in _TYPED if (value := getattr(options, name)) is not None}
    further = sbatch_options(dict(_pair(option) for option in options.sbatch), "--sbatch")
    return dataclasses.replace(
        profile, **typed, setup=(*profile.setup, *options.setup), sbatch={**profile.sbatch, **further}
    )


def _pair(option: str) -> tuple[str, str]:
    key, _, value = option.lstrip("-").partition("=")
    if not value:
        raise UserError(f"--sbatch {option}: KEY=VALUE is expected, mem=64G for example")
    return key, value
