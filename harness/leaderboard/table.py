"""The tables of a suite, derived from its rows: the same rows give the same bytes.

Lives here: CSV (every field) and Markdown (what a person reads first). Must not: reading artefacts.
"""

from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from harness.errors import UserError
from harness.row import Row
from harness.store import replace_file

COLUMNS = {
    "entry": "entry",
    "top1": "top-1 %",
    "top1_low": "95 % interval",
    "top5": "top-5 %",
    "n": "n",
    "parameters": "parameters",
    "nonzeros": "nonzeros",
    "macs": "MACs",
    "seed": "seed",
    "promised": "promised",
}
"""The fields that a person reads first, and what they are called."""

_ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
_BETTER = {field.name: field.metadata["better"] for field in fields(Row)}
HEAD = [title + _ARROWS[_BETTER[name]] for name, title in COLUMNS.items()]


def write_tables(benchmark: str, suite: str, rows: list[Row], results: Path, *, default_suite: str) -> list[Path]:
    """Write `results/<benchmark>.csv` and `.md` (`<benchmark>-<suite>` for a suite that is not the default)."""
    if not rows:
        raise UserError(f"no rows of {benchmark} ({suite}) in {results / 'rows' / benchmark}: launch it first")
    stem = benchmark if suite == default_suite else f"{benchmark}-{suite}"
    texts = {"csv": to_csv(rows), "md": to_markdown(rows)}
    for ending, text in texts.items():
        replace_file(results / f"{stem}.{ending}", text)
    return [results / f"{stem}.{ending}" for ending in texts]


def to_csv(rows: list[Row]) -> str:
    """Every field of every row; versions one column each."""
    flat = [{k: v for k, v in asdict(row).items() if k != "versions"} | _versions(row) for row in rows]
    text: str = pd.DataFrame(flat).to_csv(index=False, lineterminator="\n")
    return text


def to_markdown(rows: list[Row]) -> str:
    """Entries with accuracy and its interval, size and cost."""
    rule = ["---", *["---:"] * (len(HEAD) - 1)]
    lines = [[cell.replace("|", "\\|") for cell in _cells(row)] for row in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in [HEAD, rule, *lines])


def to_text(rows: list[Row]) -> str:
    """The same with its columns aligned, for a terminal."""
    lines = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    aligned = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines)
    return "\n".join("  ".join(cells) for cells in aligned)


def _cells(row: Row) -> list[str]:
    return [
        row.entry,
        f"{row.top1:.2f}",
        f"{row.top1_low:.2f} .. {row.top1_high:.2f}",
        f"{row.top5:.2f}",
        str(row.n),
        f"{row.parameters:,}",
        f"{row.nonzeros:,}",
        f"{row.macs:,}",
        "" if row.seed is None else str(row.seed),
        "" if row.promised is None else f"{row.promised:.2f}",
    ]


def _versions(row: Row) -> dict[str, str | None]:
    return {f"version_{name}": version for name, version in sorted(row.versions.items())}
