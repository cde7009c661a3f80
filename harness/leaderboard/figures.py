"""Figures of a suite, derived from its rows: the same rows give the same bytes.

Lives here: density of layers, training loss, what is measured over sparsity, and top-1 over cost, as SVG. Must not:
files, means that a table shows too (`summary`).
"""

import io
import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from statistics import mean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

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
DASHES = ("-", "--", ":", "-.", (0, (8, 2)), (0, (1, 4)), (0, (6, 2, 1, 2, 1, 2)), (0, (3, 5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
COLUMNS = 4
"""Panels beside each other."""
LEGEND_LINES = 30
"""Of one column of a legend."""
NAMED_LAYERS = 24
"""More are numbered: their names would lie on each other."""
FEW_LINES = 5
"""Bands of more would hide each other."""
POINTS = 80
"""Of one curve at most, so that a large suite stays a small file."""
COSTS_DIFFER = 1.5
"""The dearest entry by the cheapest; where all cost about the same, there is nothing to see."""
FEW_NAMES = 12
"""Beside a panel; fewer do not make it lower."""
NAME_HEIGHT = 0.12
"""Inches from one name beside a panel to the next."""
MEASURES = {
    "top1": "top-1 %",
    "ece": "ECE",
    "compactness": "compactness",
    "gradient_flow": "gradient flow",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An entry as all figures show it."""

    line: Summary
    rows: list[Row]
    """One for each seed."""
    family: str
    """Its name without its sparsity."""
    network: str
    """Title of the part of a figure that it belongs to: entries of as many parameters."""
    look: dict[str, Any]
    """That of its family. No other family of the same network has it."""

    @property
    def sparse(self) -> bool:
        return bool(self.line["sparsity"] > 0)

    def known(self, field: str) -> bool:
        """Whether all seeds have a value of it."""
        return all(getattr(row, field) is not None for row in self.rows)


Parts = dict[Any, dict[Any, list[Shown]]]
"""Entries by part of a figure, then by panel of the part."""


def to_svgs(rows: Iterable[Row]) -> dict[str, str]:
    """The text of every figure by the end of its name; there is none of what no entry has established."""
    entries = _shown(list(rows))
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever a person has set for figures of their own
        matplotlib.rcParams.update(STYLE)
        drawn = {
            "density": _density(entries),
            "loss": _loss(entries),
            "sparsity": _over_sparsity(entries),
            "cost": _over_cost(entries),
        }
        return {f"-{name}.svg": _svg(figure) for name, figure in drawn.items() if figure is not None}


def _shown(rows: list[Row]) -> list[Shown]:
    """In the order of the suite. Networks that nobody else is as large as stand together."""
    lines, groups = summarise(rows), grouped(rows)
    sharing = Counter(line["parameters"] for line in lines)
    alone = [parameters for parameters, count in sharing.items() if count == 1]
    families: dict[str, dict[str, None]] = {}
    shown = []
    for line, of_seeds in zip(lines, groups.values(), strict=True):
        together = len(alone) > 1 and line["parameters"] in alone
        network = "other numbers of parameters" if together else f"{line['parameters']:,.0f} parameters"
        family = _family(line)
        known = families.setdefault(network, {})
        known.setdefault(family)
        look = _look(list(known).index(family))
        shown.append(Shown(line=line, rows=of_seeds, family=family, network=network, look=look))
    return shown


def _family(line: Summary) -> str:
    """The entry's name without its sparsity: `EPSD (CS-KD)` of `EPSD (CS-KD) 90 %`; other percentages stay."""

    def without(found: re.Match[str]) -> str:
        return "" if abs(float(found[1]) - 100 * line["sparsity"]) < 1 else found[0]

    return re.sub(r",? (\d+(?:\.\d+)?) %", without, line["entry"])


def _look(number: int) -> dict[str, Any]:
    """Of the line with this number: the first 56 differ, neighbours by their colour."""
    turn = number // len(COLOURS) % len(DASHES)
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[turn], "marker": MARKERS[turn]}


def _density(entries: list[Shown]) -> Figure | None:
    """Percent of its weights that each layer keeps, mean over seeds; of sparse entries."""
    known = [entry for entry in entries if entry.sparse and entry.known("layers")]
    if not known:
        return None
    parts = _by_sparsity(known, lambda entry: (entry.network, _layers(entry)))
    figure, panels = _panels([(network, list(map(_percent, part))) for (network, _), part in parts.items()])
    for axes, ((_, layers), part) in zip(panels, parts.items(), strict=True):
        for panel, members in zip(axes, part.values(), strict=True):
            for entry in members:
                shares = [[100 * kept / total for _, kept, total in row.layers or []] for row in entry.rows]
                means = [mean(of_layer) for of_layer in zip(*shares, strict=True)]
                panel.plot(range(1, len(means) + 1), means, label=entry.family, **entry.look | {"marker": ""})
            panel.set_ylim(0, 110)
            panel.set_yscale("symlog", linthresh=0.1, linscale=0.5)  # a layer may keep one in a thousand, or none
            panel.yaxis.set_major_formatter("{x:g}")
            if len(layers) <= NAMED_LAYERS:
                names = [name.removesuffix(".weight") for name in layers]
                panel.set_xticks(range(1, len(names) + 1), names, rotation=90, fontsize=6)
        _finish(axes, "layer", "weights kept, %")
    return figure


def _layers(entry: Shown) -> tuple[str, ...]:
    return tuple(name for name, _, _ in entry.rows[0].layers or [])


def _loss(entries: list[Shown]) -> Figure | None:
    """Mean training loss of each epoch, mean over seeds; few lines have a band from the least to the greatest."""
    known = [entry for entry in entries if entry.known("losses")]
    if not known:
        return None
    parts = _by_sparsity(known, lambda entry: entry.network)
    figure, panels = _panels([(network, list(map(_percent, part))) for network, part in parts.items()])
    for axes, part in zip(panels, parts.values(), strict=True):
        for panel, members in zip(axes, part.values(), strict=True):
            for entry in members:
                _losses(panel, entry, band=len(members) <= FEW_LINES)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(axes, "epoch", "training loss, each method's own terms")
    return figure


def _losses(panel: Axes, entry: Shown, *, band: bool) -> None:
    epochs = list(zip(*(row.losses or [] for row in entry.rows), strict=True))
    at = sorted({*range(0, len(epochs), math.ceil(len(epochs) / POINTS)), len(epochs) - 1})
    told, seen = [epoch + 1 for epoch in at], [epochs[epoch] for epoch in at]
    panel.plot(told, [*map(mean, seen)], label=entry.family, **entry.look | {"marker": ""})
    if band:
        panel.fill_between(told, [*map(min, seen)], [*map(max, seen)], color=entry.look["color"], alpha=0.15, lw=0)


def _over_sparsity(entries: list[Shown]) -> Figure | None:
    """What is measured of each family of sparse entries, with 95 % intervals where they are known; horizontal lines are
    dense entries of as many parameters. None if no family has several sparsities.
    """
    parts: Parts = {}
    for entry in entries:
        if entry.sparse:
            parts.setdefault(entry.network, {}).setdefault(entry.family, []).append(entry)
    parts = {network: part for network, part in parts.items() if any(len(family) > 1 for family in part.values())}
    if not parts:
        return None
    measures = [name for name in MEASURES if any(entry.line[name] is not None for entry in entries)]
    titles = [MEASURES[name] for name in measures]
    figure, panels = _panels([(network, titles) for network in parts], sharey=False)
    for axes, families in zip(panels, parts.values(), strict=True):
        sizes = {member.line["parameters"] for members in families.values() for member in members}
        dense = [entry for entry in entries if not entry.sparse and entry.line["parameters"] in sizes]
        for panel, name in zip(axes, measures, strict=True):
            for entry in dense:
                if entry.line[name] is not None:
                    panel.axhline(entry.line[name], label=entry.family, **entry.look | {"marker": "", "lw": 0.7})
            for members in families.values():
                _points(panel, name, members)
        _finish(axes, "sparsity, %", "")
    return figure


def _points(panel: Axes, name: str, members: list[Shown]) -> None:
    known = sorted((entry.line for entry in members if entry.line[name] is not None), key=lambda line: line["sparsity"])
    if not known:
        return
    at, values = [100 * line["sparsity"] for line in known], [line[name] for line in known]
    ends = list(zip(*(_errors(line, name) for line in known), strict=True))
    panel.errorbar(at, values, yerr=ends, label=members[0].family, elinewidth=0.6, **members[0].look)


def _errors(line: Summary, name: str) -> tuple[float, float]:
    """How far the 95 % interval reaches below and above the mean; nothing where it is not known."""
    low, high = line[f"{name}_low"], line[f"{name}_high"]
    return (0, 0) if low is None else (line[name] - low, high - line[name])


def _over_cost(entries: list[Shown]) -> Figure | None:
    """Top-1 of each entry, with its 95 % interval, over the image passes of all that it was made from; a panel for each
    network, with the names right of it. What cost nothing, published weights, has no place on a log axis.
    """
    parts: dict[str, list[Shown]] = {}
    for entry in entries:
        if entry.line["image_passes"] > 0:
            parts.setdefault(entry.network, []).append(entry)
    costs = [entry.line["image_passes"] for members in parts.values() for entry in members]
    if not costs or max(costs) <= COSTS_DIFFER * min(costs):
        return None
    heights = [0.5 + max(len(members), FEW_NAMES) * NAME_HEIGHT for members in parts.values()]
    figure = Figure(figsize=(6.4, sum(heights)), layout="constrained")
    panels = figure.subplots(len(parts), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (network, members) in zip(panels, parts.items(), strict=True):
        for entry in members:
            ends = [[end] for end in _errors(entry.line, "top1")]
            at = entry.line["image_passes"], entry.line["top1"]
            panel.errorbar(*at, yerr=ends, elinewidth=0.6, **entry.look | {"linestyle": ""})
        panel.set(title=network, ylabel="top-1 %", xscale="log")
        _named(panel, sorted(members, key=lambda entry: entry.line["top1"]))
    panels[-1].set_xlabel("image passes")
    panels[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    panels[-1].xaxis.set_major_formatter(EngFormatter())
    panels[-1].xaxis.set_minor_locator(NullLocator())
    return figure


def _named(panel: Axes, members: list[Shown]) -> None:
    """Each entry's name right of the panel, as high as its point where there is room, and a line to it; best last."""
    low, high = panel.get_ylim()
    gap = 1 / max(len(members), FEW_NAMES)
    wanted = [(entry.line["top1"] - low) / (high - low) for entry in members]
    pushed = list(accumulate(wanted, lambda below, height: max(below + gap, height)))
    for place, (entry, height) in enumerate(zip(reversed(members), reversed(pushed), strict=True)):
        panel.annotate(
            entry.line["entry"],
            (entry.line["image_passes"], entry.line["top1"]),
            (1.1, min(height, 1 - place * gap)),
            textcoords="axes fraction",
            va="center",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "relpos": (0, 0.5), "linewidth": 0.3, "color": entry.look["color"]},
        )


def _by_sparsity(entries: list[Shown], part: Callable[[Shown], Hashable]) -> Parts:
    """A panel for each percent that occurs in a part, from dense to sparse."""
    parts: Parts = {}
    for entry in entries:
        parts.setdefault(part(entry), {}).setdefault(round(100 * entry.line["sparsity"]), []).append(entry)
    return {name: dict(sorted(panels.items())) for name, panels in parts.items()}


def _percent(percent: int) -> str:
    return f"sparsity {percent} %" if percent else "dense"


def _panels(parts: list[tuple[str, list[str]]], *, sharey: bool = True) -> tuple[Figure, list[list[Axes]]]:
    """The panels of each part, by title of the part and titles of its panels; parts stand below each other."""
    columns = min(COLUMNS, max(len(titles) for _, titles in parts))
    heights = [math.ceil(len(titles) / columns) for _, titles in parts]
    figure = Figure(figsize=(6.4 if columns == 1 else 2.8 * columns, 2.8 * sum(heights)), layout="constrained")
    panels = []
    subfigures = figure.subfigures(len(parts), squeeze=False, height_ratios=heights)[:, 0]
    for subfigure, height, (title, titles) in zip(subfigures, heights, parts, strict=True):
        subfigure.suptitle(title, fontweight="bold")
        axes = list(subfigure.subplots(height, columns, sharey=sharey, squeeze=False).flat)
        for panel in axes[len(titles) :]:
            panel.remove()
        for panel, name in zip(axes, titles, strict=False):
            panel.set_title(name)
        panels.append(axes[: len(titles)])
    return figure, panels


def _finish(axes: list[Axes], xlabel: str, ylabel: str) -> None:
    """Labels that hold for all panels of a part, and right of them a legend with each name once."""
    part = axes[0].figure
    part.supxlabel(xlabel, fontsize="medium")
    part.supylabel(ylabel, fontsize="medium")
    lines = {label: handle for panel in axes for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = math.ceil(len(lines) / LEGEND_LINES)
    part.legend(lines.values(), lines.keys(), loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return text.getvalue()
