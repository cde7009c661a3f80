"""`harness status`: how the launches into a store are doing, on one screen.

Lives here: the screen, and drawing it again. Must not: finding out (`harness.overview`).
"""

import argparse
import math
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from harness.commands._arguments import Commands, add_store, positive_number
from harness.commands._store import open_store, queue_or_complaint
from harness.commands._text import cut, moment, visible
from harness.journal import Event
from harness.launches import Launch
from harness.overview import StageState, survey, with_jobs
from harness.progress import clock

REDRAW_SECONDS = 30.0
SILENT_SECONDS = 60.0
"""A journal that did not move for so long is worth a word."""
PAUSE_PER_LOOK = 5.0
"""A look that took a second is followed by five without one: Slurm has others to serve."""
RUNNING, FAILED, BLOCKED, KINDS = 10, 6, 4, 10
"""Lines of each part of the screen."""
_CLEAR = "\x1b[H\x1b[2J"
_WAITING = ("queued", "requeued")
_TROUBLES = ("failed", "cancelled", "blocked", "missing", "unknown")
_COUNTED = ("done", "running", *_WAITING, *_TROUBLES)


def add_to(commands: Commands) -> None:
    """Add `harness status`."""
    parser = commands.add_parser("status", help="how the launches into a store are doing")
    add_store(parser)
    parser.add_argument("--all", action="store_true", help="every launch and every line, on however many screens")
    parser.add_argument(
        "--watch", type=positive_number, nargs="?", const=REDRAW_SECONDS, metavar="SECONDS",
        help="draw again every so many seconds (default 30), until Ctrl-C",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Draw once, or until somebody has seen enough."""
    try:
        while True:
            began = time.monotonic()
            lines = look(options)
            pause = PAUSE_PER_LOOK * (time.monotonic() - began)
            print((_CLEAR if options.watch and sys.stdout.isatty() else "") + "\n".join(lines), flush=True)
            if options.watch is None:
                return
            time.sleep(max(options.watch, pause))
    except KeyboardInterrupt:
        if options.watch is None:
            raise


def look(options: argparse.Namespace) -> list[str]:
    """The lines to draw now."""
    store, launches = open_store(options)
    queue, complaint = queue_or_complaint(launches)
    shown = launches if options.all else with_jobs(launches, queue)
    states = list(survey(store, shown, queue).values())
    lines = [complaint] if complaint else []
    lines += [*headline(states, shown), *render(states, everything=options.all)]
    if left_out := len(_origins(launches)) - len(_origins(shown)):
        lines.append(
            f"left out, without a job in the queue: {left_out:,} launch{'es' if left_out > 1 else ''} (see --all)"
        )
    width = None if options.all else shutil.get_terminal_size((120, 40)).columns
    return [visible(line)[:width] for line in lines]


def headline(states: Sequence[StageState], launches: Sequence[Launch]) -> list[str]:
    """How many stages are where, what is at work, and how much of the work counts."""
    counts = Counter(state.state for state in states)
    waiting = sum(counts[name] for name in _WAITING)
    since = moment(min(launch.time for launch in launches))
    told = [
        f"{len(states):,} stages: {counts['done']:,} done",
        f"{counts['running']:,} running",
        f"{waiting:,} waiting",
    ]
    told += [f"{counts[name]:,} {name}" for name in _TROUBLES if counts[name]]
    typed = len(_origins(launches))
    many = f"{typed:,} launches" if typed > 1 else "1 launch"
    ranks = sum(_ranks(state) for state in states if state.state == "running")
    work = [f"{many} since {since}", f"{ranks:,} rank{'s' if ranks != 1 else ''} at work"]
    updates = [state.history.goodput for state in states if state.history and state.history.goodput]
    if made := sum(every for _, every in updates):
        share = math.floor(1000 * sum(useful for useful, _ in updates) / made) / 10
        work.append(f"goodput of the unfinished {min(100.0, share)} %")
    return [", ".join(told), ", ".join(work)]


def render(states: Sequence[StageState], *, everything: bool) -> list[str]:
    """What runs, what failed, what is blocked by what, and a count of all stages by kind."""

    def part(title: str, lines: Sequence[str], limit: int) -> list[str]:
        return [f"{title}:", *cut(lines, None if everything else limit)] if lines else []

    running = [_running(state) for state in states if state.state == "running"]
    failed = [f"  {_name(s)}  {s.because}" for s in states if s.state in ("failed", "cancelled")]
    lost = [f"  {_name(s)}  {s.because}" for s in states if s.state == "missing" and s.because]
    unsure = [f"  {_name(s)}  {s.because}" for s in states if s.state == "unknown" and s.because]
    return [
        *part("running", running, RUNNING),
        *part("failed", failed, FAILED),
        *part("blocked", _blocked(states), BLOCKED),
        *part("nobody runs any more", lost, BLOCKED),
        *part("may be in the queue again", unsure, BLOCKED),
        *part("by kind", _kinds(states), KINDS),
    ]


def _running(state: StageState) -> str:
    """Title, key, job, nodes, how far, how fast, time left, since when nothing was heard, how often requeued."""
    history, progress = state.history, state.history.progress if state.history else None
    nodes = f" on {state.nodes} node{'s' if state.nodes != 1 else ''}" if state.nodes else ""
    parts = [f"job {state.job.job}{nodes}" if state.job else "outside the queue"]
    parts += ["starting"] if progress is None else _progress(progress)
    if state.moved is not None and (silent := time.time() - state.moved) >= SILENT_SECONDS:
        parts.append(f"silent for {clock(silent)}")
    if history and history.requeues:
        parts.append(f"requeued {history.requeues} x")
    return f"  {_name(state)}  {', '.join(parts)}"


def _progress(event: Event) -> list[str]:
    """How far, how fast, time left: what of it the journal tells in numbers."""
    number = {name: _number(value) for name, value in event.items()}
    parts = []
    if (epoch := number.get("epoch")) is not None:
        parts.append(f"epoch {epoch:g}/{number.get('epochs') or 0:g}")
    elif isinstance(split := event.get("split"), str):
        parts.append(split)
    if (speed := number.get("images_per_s")) is not None:
        parts.append(f"{speed:,.0f} images/s")
    if (left := number.get("seconds_left")) is not None:
        parts.append(f"{clock(left)} left")
    return parts


def _blocked(states: Collection[StageState]) -> list[str]:
    """One line for each stage that keeps others waiting."""
    by_key = {state.key: state for state in states}
    waiting: dict[str, int] = defaultdict(int)
    for state in states:
        if state.blocker is not None:
            waiting[state.blocker] += 1
    most_first = sorted(waiting.items(), key=lambda pair: -pair[1])
    return [f"  {count:,} by {_name(by_key[key])}, {by_key[key].state}" for key, count in most_first]


def _kinds(states: Collection[StageState]) -> list[str]:
    """`train  9 done, 3 queued (2 Dependency, 1 Priority)`, the most numerous kinds first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for state in states:
        counts[state.planned.stage][state.state] += 1
        if state.state in _WAITING:
            reasons[state.planned.stage][state.because] += 1
    lines = []
    for kind, found in sorted(counts.items(), key=lambda pair: -pair[1].total()):
        told = ", ".join(f"{found[name]:,} {name}" for name in _COUNTED if found[name])
        why = ", ".join(f"{count:,} {reason}" for reason, count in reasons[kind].most_common(3))
        lines.append(f"  {kind:<20} {told}{f' ({why})' if why else ''}")
    return lines


def _name(state: StageState) -> str:
    return f"{state.title} {state.key[:12]}"


def _origins(launches: Sequence[Launch]) -> set[str]:
    """Launches that a person typed."""
    return {launch.origin for launch in launches}


def _ranks(state: StageState) -> int:
    """Ranks of the attempt that runs, if it told."""
    last = state.history.last if state.history else None
    return int((last and _number(last.ranks)) or 0)


def _number(value: object) -> float | None:
    """The value if it is a number that can be drawn: journals are data."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
