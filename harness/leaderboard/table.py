"""The tables of a suite, derived from its rows: the same rows give the same bytes.

Lives here: CSV (every field), Markdown and terminal (what a person reads first). Must not: reading artefacts, means.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from string import Formatter

import pandas as pd

from harness.errors import UserError
from harness.leaderboard.summary import Summary, compare, summarise, total_cost
from harness.row import Row
from harness.store import replace_file

RESULTS = {
    "entry": "{entry}",
    "top-1 %": "{top1:.2f}",
    "sd": "{top1_sd:.2f}",
    "95 % interval": "{top1_low:.2f} .. {top1_high:.2f}",
    "seeds": "{seeds}",
    "images": "{n:,}",
    "promised": "{promised:.2f}",
    "less promised": "{promised_difference:+.2f}",
    "parameters": "{parameters:,.0f}",
    "nonzeros": "{nonzeros:,.0f}",
    "teacher's nonzeros": "{teacher_nonzeros:,.0f}",
    "MACs": "{macs:,.0f}",
    "image passes": "{image_passes:,.0f}",
    "device seconds": "{device_seconds:,.0f}",
}
"""What a person reads first: titles, and which columns of a summary a cell shows in which form."""

COMPARISONS = {
    "entry": "{entry}",
    "against": "{against}",
    "seeds of both": "{seeds}",
    "difference": "{difference:+.2f}",
    "95 % interval": "{difference_low:+.2f} .. {difference_high:+.2f}",
    "verdict": "{verdict}",
}
"""Whether an entry is better than another: percent points of top-1."""

PREDICTIONS = {
    "entry": "{entry}",
    "confidence": "{confidence:.4f}",
    "entropy": "{entropy:.4f}",
    "NLL": "{nll:.4f}",
    "ECE": "{ece:.4f}",
    "margin": "{margin:.4f}",
    "train top-1 %": "{train_top1:.2f}",
    "gap": "{gap:.2f}",
    "agreement %": "{agreement:.2f}",
    "smoothing": "{smoothing:.4f}",
    "share": "{smoothing_share:.4f}",
    "smoothing, T=10": "{smoothing_t10:.4f}",
    "share, T=10": "{smoothing_share_t10:.4f}",
}
"""What the networks say rather than how often they are right."""

_ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
_BETTER = {field.name: field.metadata["better"] for field in fields(Row)}

Cells = list[list[str]]
"""Lines of a table, its head first."""


def write_tables(benchmark: str, suite: str, rows: list[Row], results: Path, *, default_suite: str) -> list[Path]:
    """Write `results/<benchmark>.csv` with all rows, and what they say together: `-summary.csv` with a line for each
    entry, `-comparisons.csv` with one for each comparison, `.md` for a person.

    A suite that is not the default has files named `<benchmark>-<suite>`.
    """
    if not rows:
        raise UserError(f"no rows of {benchmark} ({suite}) in {results / 'rows' / benchmark}: launch it first")
    stem = benchmark if suite == default_suite else f"{benchmark}-{suite}"
    texts = to_files(rows)
    for ending, text in texts.items():
        replace_file(results / f"{stem}{ending}", text)
    return [results / f"{stem}{ending}" for ending in texts]


def to_files(rows: list[Row]) -> dict[str, str]:
    """The text of every file by the end of its name; without comparisons there is no file of them."""
    comparisons = compare(rows)
    texts = {".csv": to_csv(rows), "-summary.csv": csv_of(summarise(rows)), ".md": to_markdown(rows)}
    return texts | ({"-comparisons.csv": csv_of(comparisons)} if comparisons else {})


def to_csv(rows: list[Row]) -> str:
    """Every field of every row, but for the stages; versions one column each."""
    return csv_of([_flat(row) for row in rows])


def to_markdown(rows: list[Row]) -> str:
    """Accuracy, size and cost of every entry; the comparisons; what predictions are like; what holds for all."""
    return _document(rows, _markdown)


def to_text(rows: list[Row]) -> str:
    """The same with its columns aligned, for a terminal."""
    return _document(rows, _aligned)


def _document(rows: list[Row], draw: Callable[[Cells], str]) -> str:
    summaries, comparisons = summarise(rows), compare(rows)
    shown = [(summaries, RESULTS), (comparisons, COMPARISONS), (summaries, PREDICTIONS)]
    tables = [draw(cells(lines, columns)) for lines, columns in shown if lines]
    return "\n".join([*tables, footer(rows)])


def cells(lines: list[Summary], columns: Mapping[str, str]) -> Cells:
    """Head and lines, without the columns that are blank for all entries. An arrow tells which direction is good."""
    filled = {
        title + _ARROWS[_BETTER.get(_names(form)[0])]: [_cell(form, line) for line in lines]
        for title, form in columns.items()
    }
    shown = {title: column for title, column in filled.items() if any(column)}
    return [list(shown), *(list(line) for line in zip(*shown.values(), strict=True))]


def footer(rows: list[Row]) -> str:
    """One line: the protocol, which epoch was kept, what the intervals are of, and what it all cost."""
    protocol = "; ".join(sorted({row.protocol for row in rows} - {""}))
    kept = ", ".join(sorted({row.epoch_rule for row in rows}))
    intervals = "95 % intervals: Student's t over seeds, Wilson's over images where there is one seed."
    cost = (
        "Cost: {image_passes:,} image passes and {device_seconds:,.0f} device seconds, shared stages counted once;"
        " {image_passes_alone:,} and {device_seconds_alone:,.0f} if every entry had been run by itself."
    )
    said = [f"Protocol: {protocol}."] if protocol else []
    return " ".join([*said, f"Epoch kept: {kept}.", intervals, cost.format(**total_cost(rows))]) + "\n"


def _cell(form: str, line: Summary) -> str:
    """Blank if a value it shows is not known."""
    return "" if any(line[name] is None for name in _names(form)) else form.format(**line)


def _names(form: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(form) if name]


def _markdown(table: Cells) -> str:
    rule = ["---", *["---:"] * (len(table[0]) - 1)]
    lines = [[cell.replace("|", "\\|") for cell in line] for line in table]
    return "".join("| " + " | ".join(line) + " |\n" for line in [lines[0], rule, *lines[1:]])


def _aligned(table: Cells) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in table)
    return "".join("  ".join(line) + "\n" for line in lines)


def csv_of(lines: list[Summary]) -> str:
    """Whole numbers stay whole beside blanks."""
    text: str = pd.DataFrame(lines, dtype=object).to_csv(index=False, lineterminator="\n")
    return text


def _flat(row: Row) -> Summary:
    plain = {name: value for name, value in asdict(row).items() if name not in ("versions", "stages")}
    versions = {f"version_{name}": version for name, version in sorted(row.versions.items())}
    return plain | {"against": "; ".join(row.against)} | versions
