"""What a cluster wants to be told, written once in a file of the user's instead of at every launch.

Lives here: `Profile`, reading and checking it. Must not: what enters a key; turning it into a job
(`harness.executors.slurm`).

    ~/.config/harness/clusters.toml             ($XDG_CONFIG_HOME/harness/clusters.toml where that is set)

    [default]                                   # taken by a launch that names no profile
    partition = "gpu"
    mem = "64G"
    minutes = 1440
    setup = ["module load cuda/12.4"]
    srun = ["--container-image=harness.sqsh"]
    sbatch = { wckey = "ours", exclusive = true }
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from harness.errors import UserError
from harness.plugins import did_you_mean

DEFAULT = "default"
"""The table of a launch that names none."""
LARGEST_FILE = 1_000_000
"""Bytes; a file beyond that is not one of ours."""

_OF_SBATCH = ("partition", "account", "qos", "constraint", "reservation", "gres", "mem")
_DECIDED = {
    "a plan decides it": ("array", "dependency", "kill-on-invalid-dep"),
    "--nodes and --gpus decide it": ("nodes", "ntasks", "ntasks-per-node"),
    "--workers decides it": ("cpus-per-task",),
    "jobs are found again by their name": ("job-name",),
    "logs have their place in the store": ("output", "error", "open-mode"),
    "an interrupted job is put back by itself": ("requeue", "no-requeue"),
    "jobs run in a snapshot of the code": ("chdir",),
    "ranks are told through the environment where to meet": ("export",),
    "it is about how a job is submitted": ("parsable", "wrap"),
    "write it as minutes = ... or --minutes": ("time",),
    "write it as gpus = ... or --gpus": ("gpus-per-node",),
    "write it as signal_seconds = ...": ("signal",),
}
"""Options of sbatch that are no site's to choose, by the reason."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One cluster, as far as it was described; None where it was not. Raises UserError if its numbers contradict."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    gres: str | None = None
    mem: str | None = None
    minutes: int | None = None
    """Time limit of a job."""
    gpus: int | None = None
    """Ranks on each node."""
    max_jobs: int | None = None
    """Tasks of one array that run at a time."""
    max_submit: int | None = None
    """Jobs in the queue at a time; what is beyond is submitted when these have ended."""
    signal_seconds: int | None = None
    """How long before a time limit the ranks are told to save."""
    setup: tuple[str, ...] = ()
    """Lines of the batch file before the command: modules, a virtual environment."""
    srun: tuple[str, ...] = ()
    """Further arguments of srun."""
    python: str | None = None
    """Interpreter of the jobs."""
    sbatch: Mapping[str, str | bool] = field(default_factory=dict)
    """Any other option of sbatch by its long name; True for one that takes no value."""

    def __post_init__(self) -> None:
        if self.minutes and self.signal_seconds and self.signal_seconds >= 60 * self.minutes:
            raise UserError(
                f"signal_seconds {self.signal_seconds} is not shorter than a job of {self.minutes} minutes, which"
                " would be told to save as soon as it starts"
            )

    def site_options(self) -> dict[str, str | bool]:
        """Options of sbatch that stand here under its own names, and those of `sbatch`."""
        named = {name: getattr(self, name) for name in _OF_SBATCH}
        return {**{name: value for name, value in named.items() if value is not None}, **self.sbatch}


def read_profile(name: str | None, path: Path | None = None) -> Profile:
    """The profile that a launch asked for. Raises UserError, naming file, table and key.

    `name` is a table of the user's file (or of `path`), or `FILE.toml`, or `FILE.toml:TABLE`. With None it is the
    table `default`, and an empty profile where that is not written.
    """
    path, table, optional = path or _users_file(), name or DEFAULT, name is None
    if table.endswith(".toml"):
        path, table = Path(table), DEFAULT
    elif ".toml:" in table:
        file, _, table = table.rpartition(":")
        path = Path(file)
    tables = _read_tables(path)
    if tables is not None and table in tables:
        return _read_table(tables[table], f"{path}: [{table}]")
    if optional:
        return Profile()
    if tables is None:
        raise UserError(f"no profile {table!r}: there is no file {path}; write it there, below a line [{table}]")
    raise UserError(f"{path}: no table [{table}]{did_you_mean(table, tables)}")


def sbatch_options(given: Mapping[str, Any], where: str) -> dict[str, str | bool]:
    """Options of sbatch by their long names, checked. Raises UserError for those that the harness sets itself.

    `where` begins the message: a file and table, or a flag.
    """
    options: dict[str, str | bool] = {}
    for name, value in given.items():
        option = name.replace("_", "-")
        if not re.fullmatch(r"[a-z][a-z-]+", option):
            raise UserError(f"{where}: {name!r} is not the long name of an option of sbatch, such as 'exclude'")
        for reason, decided in _DECIDED.items():
            if option in decided:
                raise UserError(f"{where}: {name} is not to be set here: {reason}")
        plain = str(value) if type(value) is int else value
        options[option] = True if value is True else _text(plain, f"{where}: {name}")
    return options


def _users_file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "harness" / "clusters.toml"


def _read_tables(path: Path) -> dict[str, dict[str, Any]] | None:
    """Every table of a file, None if there is no such file."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"cannot read the profiles in {path}: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise UserError(f"{path} has more than {LARGEST_FILE:,} bytes: that is no file of profiles")
    try:
        tables = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UserError(f"{path}: {name!r} stands in no table: write it below a line such as [{DEFAULT}]")
    return tables


def _read_table(table: dict[str, Any], where: str) -> Profile:
    kinds = get_type_hints(Profile)
    known = [field.name for field in fields(Profile)]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            hint = did_you_mean(key, known)
            raise UserError(f"{where}: unknown key {key!r}{hint}; another option of sbatch goes into sbatch = {{...}}")
        values[key] = _READERS[kinds[key]](value, f"{where}: {key}")
    try:
        return Profile(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.replace("\t", " ").isprintable():
        raise UserError(f"{where} must be text on one line, not {value!r}")
    return value


def _whole_number(value: Any, where: str) -> int:
    if type(value) is not int or value <= 0:  # true is an int to Python
        raise UserError(f"{where} must be a whole number above 0, not {value!r}")
    return value


def _lines(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UserError(f"{where} must be a list of lines in [...], not {value!r}")
    for line in value:
        if _text(line, where).lstrip().startswith("#SBATCH"):
            raise UserError(f"{where}: {line!r} is an option of sbatch: write it into sbatch = {{...}}")
    return tuple(value)


def _options(value: Any, where: str) -> dict[str, str | bool]:
    if not isinstance(value, dict):
        raise UserError(f"{where} must be options in {{...}}, not {value!r}")
    options = sbatch_options(value, where)
    for name in options:
        if name in _OF_SBATCH:
            raise UserError(f"{where}: {name} has a place of its own: write {name} = ... outside sbatch")
    return options


_READERS: dict[Any, Callable[[Any, str], Any]] = {
    str | None: _text,
    int | None: _whole_number,
    tuple[str, ...]: _lines,
    Mapping[str, str | bool]: _options,
}
"""How the value of a field of `Profile` is checked, by the field's type."""
