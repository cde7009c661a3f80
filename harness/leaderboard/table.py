"""The tables of a suite, derived from its rows: the same rows give the same bytes.

Lives here: CSV (every field), Markdown and terminal (what a person reads first). Must not: which columns there are
(`columns`), means (`summary`), drawing (`figures`).
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from string import Formatter

import pandas as pd

from harness.errors import UserError
from harness.leaderboard.columns import COMPARISONS, EPOCH_KEPT, HELD_OUT, RESULTS, TRAINING
from harness.leaderboard.figures import to_svgs
from harness.leaderboard.rows import folder_of
from harness.leaderboard.summary import MEASURED, Summary, compare, summarise, total_cost
from harness.row import Row
from harness.store import replace_file

_ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
_NESTED = ("versions", "stages", "layers", "losses")
_BETTER = {field.name: field.metadata["better"] for field in fields(Row)}

Cells = list[list[str]]
"""Lines of a table, its head first."""


def write_tables(benchmark: str, suite: str, rows: list[Row], results: Path, *, default_suite: str) -> list[Path]:
    """Write `results/<benchmark>.csv` with all rows, and what they say together: `-summary.csv` with a line for each
    entry, `-comparisons.csv` with one for each comparison, `.md` for a person. Figures are written beside them.

    A suite that is not the default has files named `<benchmark>-<suite>`.
    """
    if not rows:
        raise UserError(f"no rows of {benchmark} ({suite}) in {folder_of(benchmark, suite, results)}: launch it first")
    stem = benchmark if suite == default_suite else f"{benchmark}-{suite}"
    texts = to_files(rows) | to_svgs(rows)
    for ending, text in texts.items():
        replace_file(results / f"{stem}{ending}", text)
    return [results / f"{stem}{ending}" for ending in texts]


def to_files(rows: list[Row]) -> dict[str, str]:
    """The text of every table by the end of its name; without comparisons there is no file of them."""
    comparisons = compare(rows)
    texts = {".csv": to_csv(rows), "-summary.csv": csv_of(summarise(rows)), ".md": to_markdown(rows)}
    return texts | ({"-comparisons.csv": csv_of(comparisons)} if comparisons else {})


def to_csv(rows: list[Row]) -> str:
    """Every field of every row, but for stages, layers and losses; versions one column each."""
    return csv_of([_flat(row) for row in rows])


def to_markdown(rows: list[Row]) -> str:
    """Accuracy, size and cost of every entry; comparisons; predictions on held-out and on training images; a footer."""
    return _document(rows, _markdown)


def to_text(rows: list[Row]) -> str:
    """The same with its columns aligned, for a terminal."""
    return _document(rows, _aligned)


def _document(rows: list[Row], draw: Callable[[Cells], str]) -> str:
    entries, comparisons = [_with_half_widths(line) for line in summarise(rows)], compare(rows)
    results = RESULTS if len(_epoch_rules(rows)) == 1 else RESULTS | EPOCH_KEPT
    shown = [(entries, results), (comparisons, COMPARISONS), (entries, HELD_OUT), (entries, TRAINING)]
    tables = [cells(lines, columns) for lines, columns in shown if lines]
    return "\n".join([*(draw(table) for table in tables if len(table[0]) > 1), footer(rows)])


def cells(lines: list[Summary], columns: Mapping[str, str]) -> Cells:
    """Head and lines, without the columns that are blank for all entries. An arrow tells which direction is good."""
    filled = {
        title + _ARROWS[_BETTER.get(_names(form)[0])]: [_cell(form, line) for line in lines]
        for title, form in columns.items()
    }
    shown = {title: column for title, column in filled.items() if any(column)}
    return [list(shown), *(list(line) for line in zip(*shown.values(), strict=True))]


def footer(rows: list[Row]) -> str:
    """One line: the protocol, which epoch was kept if it is the same for all, what the intervals are of, the cost."""
    protocol, rules = "; ".join(sorted({row.protocol for row in rows} - {""})), _epoch_rules(rows)
    intervals = (
        "95 % intervals (± is half of one): Student's t over seeds; of top-1, where seeds tell none, Wilson's over"
        " images."
    )
    cost = (
        "Cost: {image_passes:,} image passes and {device_seconds:,.0f} device seconds, shared stages counted once;"
        " {image_passes_alone:,} and {device_seconds_alone:,.0f} if every entry had been run by itself."
    )
    published = any(name == "pretrained" for row in rows for name, *_ in row.stages.values())
    said = [
        f"Protocol: {protocol}." if protocol else "",
        f"Epoch kept: {rules[0]}." if len(rules) == 1 else "",
        intervals,
        cost.format(**total_cost(rows)),
        "Published weights count as nothing." if published else "",
    ]
    return " ".join(filter(None, said)) + "\n"


def _epoch_rules(rows: list[Row]) -> list[str]:
    return sorted({row.epoch_rule for row in rows})


def _with_half_widths(line: Summary) -> Summary:
    """With `<field>_half` of every interval, for a person; files hold its ends."""
    ends = {field: (line[f"{field}_low"], line[f"{field}_high"]) for field in MEASURED}
    return line | {f"{field}_half": None if low is None else (high - low) / 2 for field, (low, high) in ends.items()}


def _cell(form: str, line: Summary) -> str:
    """Blank if a value it shows is not known; without its ± if only that is not."""
    value, _, _ = form.partition(" ± ")
    known = (shown for shown in (form, value) if all(line[name] is not None for name in _names(shown)))
    return next((shown.format(**line) for shown in known), "")


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
    plain = {name: value for name, value in vars(row).items() if name not in _NESTED}
    versions = {f"version_{name}": version for name, version in sorted(row.versions.items())}
    return plain | {"against": "; ".join(row.against)} | versions
