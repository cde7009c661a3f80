"""Figures of a suite, derived from its rows: the same rows give the same bytes.

Lives here: density of layers, training loss, and what is measured over sparsity, as SVG. Must not: files, means that a
table shows too (`summary`).
"""

import io
import math
import re
from collections.abc import Iterable
from statistics import mean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.leaderboard.summary import Summary, grouped, summarise
from harness.row import Row

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
    "text.parse_math": False,  # names are no formulas
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "legend.frameon": False,
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Told apart by the colour-blind too (Okabe and Ito, 2008); their yellow cannot be seen on white."""
DASHES, MARKERS = ("-", "--", ":", "-."), ("o", "s", "^", "D")
LEGEND_LINES = 30
"""Of one column of a legend."""
NAMED_LAYERS = 60
"""More are numbered: their names would lie on each other."""
MEASURES = {
    "top1": "top-1 %",
    "ece": "ECE",
    "compactness": "compactness",
    "gradient_flow": "gradient flow",
}

Curves = dict[str, list[Any]]
"""One list of values by the name of an entry."""


def to_svgs(rows: Iterable[Row]) -> dict[str, str]:
    """The text of every figure by the end of its name; there is none of what no entry has established."""
    rows = list(rows)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever a person has set for figures of their own
        matplotlib.rcParams.update(STYLE)
        drawn = {"density": _density(rows), "loss": _loss(rows), "sparsity": _over_sparsity(rows)}
        return {f"-{name}.svg": _svg(figure) for name, figure in drawn.items() if figure is not None}


def _density(rows: list[Row]) -> Figure | None:
    """Percent of its weights that each layer keeps, mean over seeds; of sparse entries."""
    layers = _established("layers", [row for row in rows if row.sparsity > 0])
    if not layers:
        return None
    figure, axes = _panels(1)
    for number, (entry, of_seeds) in enumerate(layers.items()):
        shares = [[100 * kept / total for _, kept, total in seed] for seed in of_seeds]
        means = [mean(of_layer) for of_layer in zip(*shares, strict=True)]
        axes[0].plot(range(1, len(means) + 1), means, label=entry, **_look(number))
    axes[0].set(xlabel="layer", ylabel="weights kept, %", ylim=(0, 110))
    axes[0].set_yscale("symlog", linthresh=0.1, linscale=0.5)  # a layer may keep one in a thousand, or none
    axes[0].yaxis.set_major_formatter("{x:g}")
    names = {tuple(name for name, _, _ in seed) for of_seeds in layers.values() for seed in of_seeds}
    if len(names) == 1 and len(one := names.pop()) <= NAMED_LAYERS:
        axes[0].set_xticks(range(1, len(one) + 1), [name.removesuffix(".weight") for name in one], rotation=90)
    _legend(figure, axes[0])
    return figure


def _loss(rows: list[Row]) -> Figure | None:
    """Mean training loss of each epoch, mean over seeds within the band from the least to the greatest."""
    losses = _established("losses", rows)
    if not losses:
        return None
    figure, axes = _panels(1)
    for number, (entry, of_seeds) in enumerate(losses.items()):
        epochs = list(zip(*of_seeds, strict=True))
        at, look = range(1, len(epochs) + 1), _look(number)
        axes[0].plot(at, [mean(epoch) for epoch in epochs], label=entry, **look | {"marker": ""})
        axes[0].fill_between(at, [*map(min, epochs)], [*map(max, epochs)], color=look["color"], alpha=0.15, lw=0)
    axes[0].set(xlabel="epoch", ylabel="training loss")
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, axes[0])
    return figure


def _over_sparsity(rows: list[Row]) -> Figure | None:
    """What is measured of each family of sparse entries, with 95 % intervals where they are known; horizontal lines are
    dense entries of as many parameters. None if no family has several sparsities.
    """
    lines = summarise(rows)
    families: dict[str, list[Summary]] = {}
    for line in lines:
        if line["sparsity"] > 0:
            families.setdefault(_family(line), []).append(line)
    if all(len(family) == 1 for family in families.values()):
        return None
    sizes = {line["parameters"] for family in families.values() for line in family}
    dense = [line for line in lines if line["sparsity"] == 0 and line["parameters"] in sizes]
    measures = [name for name in MEASURES if any(line[name] is not None for line in lines)]
    figure, axes = _panels(len(measures))
    for panel, name in zip(axes, measures, strict=True):
        for number, line in enumerate(dense):
            if line[name] is not None:
                panel.axhline(line[name], label=line["entry"], **_look(number) | {"marker": "", "lw": 0.7})
        for number, (family, members) in enumerate(families.items(), start=len(dense)):
            _points(panel, name, family, members, _look(number))
        panel.set(xlabel="sparsity, %", title=MEASURES[name])
    _legend(figure, *axes)
    return figure


def _points(panel: Axes, name: str, family: str, members: list[Summary], look: dict[str, Any]) -> None:
    known = sorted((line for line in members if line[name] is not None), key=lambda line: line["sparsity"])
    if not known:
        return
    ends = [(line[f"{name}_low"], line[f"{name}_high"]) for line in known]
    below = [0 if low is None else line[name] - low for line, (low, _) in zip(known, ends, strict=True)]
    above = [0 if high is None else high - line[name] for line, (_, high) in zip(known, ends, strict=True)]
    at, values = [100 * line["sparsity"] for line in known], [line[name] for line in known]
    panel.errorbar(at, values, yerr=[below, above], label=family, elinewidth=0.6, capsize=1.5, **look)


def _family(line: Summary) -> str:
    """The entry's name without its sparsity: `EPSD (CS-KD)` of `EPSD (CS-KD) 90 %`; other percentages stay."""

    def without(found: re.Match[str]) -> str:
        return "" if abs(float(found[1]) - 100 * line["sparsity"]) < 1 else found[0]

    return re.sub(r",? (\d+(?:\.\d+)?) %", without, line["entry"])


def _established(field: str, rows: list[Row]) -> Curves:
    """The field's value of every seed, of the entries that know it of all their seeds."""
    values = {entry: [getattr(row, field) for row in group] for entry, group in grouped(rows).items()}
    return {entry: of_seeds for entry, of_seeds in values.items() if None not in of_seeds}


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(6.4 if count == 1 else 3.2 * count, 3.6), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _look(number: int) -> dict[str, Any]:
    """Of the line with this number: the first 28 differ, neighbours by their colour."""
    turn = number // len(COLOURS) % len(DASHES)
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[turn], "marker": MARKERS[turn]}


def _legend(figure: Figure, *axes: Axes) -> None:
    """Right of the panels, each name once."""
    lines = {label: handle for panel in axes for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = math.ceil(len(lines) / LEGEND_LINES)
    figure.legend(lines.values(), lines.keys(), loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return text.getvalue()
