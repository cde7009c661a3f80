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

from harness.commands._store import add_store, open_store, queue_or_complaint
from harness.commands._text import cut, visible
from harness.launches import Launch
from harness.overview import StageState, survey
from harness.progress import clock

REDRAW_SECONDS = 30.0
PAUSE_PER_LOOK = 5.0
"""A look that took a second is followed by five without one: Slurm has others to serve."""
RUNNING, FAILED, BLOCKED, KINDS = 10, 6, 4, 10
"""Lines of each part of the screen."""
_CLEAR = "\x1b[H\x1b[2J"
_WAITING = ("queued", "requeued")
_COUNTED = ("done", "running", *_WAITING, "failed", "cancelled", "blocked", "missing")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `harness status`."""
    parser = commands.add_parser("status", help="how the launches into a store are doing")
    add_store(parser)
    parser.add_argument("--all", action="store_true", help="every line, however many screens they fill")
    parser.add_argument(
        "--watch", type=_seconds, nargs="?", const=REDRAW_SECONDS, metavar="SECONDS",
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
    states = list(survey(store, launches, queue).values())
    lines = [complaint] if complaint else []
    lines += [*headline(states, launches), *render(states, everything=options.all)]
    width = None if options.all else shutil.get_terminal_size((120, 40)).columns
    return [visible(line)[:width] for line in lines]


def headline(states: Sequence[StageState], launches: Sequence[Launch]) -> list[str]:
    """How many stages are where, what is at work, and how much of the work counts."""
    counts = Counter(state.state for state in states)
    waiting = sum(counts[name] for name in _WAITING)
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(launch.time for launch in launches)))
    told = [
        f"{len(states):,} stages: {counts['done']:,} done",
        f"{counts['running']:,} running",
        f"{waiting:,} waiting",
    ]
    told += [f"{counts[name]:,} {name}" for name in ("failed", "cancelled", "blocked", "missing") if counts[name]]
    many = f"{len(launches)} launches" if len(launches) > 1 else "1 launch"
    gpus = sum(_gpus(state) for state in states if state.state == "running")
    work = [f"{many} since {since}", f"{gpus:,} GPUs at work"]
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
    return [
        *part("running", running, RUNNING),
        *part("failed", failed, FAILED),
        *part("blocked", _blocked(states), BLOCKED),
        *part("nobody runs any more", lost, BLOCKED),
        *part("by kind", _kinds(states), KINDS),
    ]


def _running(state: StageState) -> str:
    """Title, key, job, nodes, how far, how fast, time left, how often it was started again."""
    history, progress = state.history, state.history.progress if state.history else None
    nodes = f" on {state.nodes} node{'s' if state.nodes != 1 else ''}" if state.nodes else ""
    parts = [f"job {state.job.job}{nodes}" if state.job else "here"]
    if progress is None:
        parts.append("starting")
    else:
        epoch, split = progress.get("epoch"), progress.get("split")
        parts.append(f"epoch {epoch}/{progress.get('epochs')}" if epoch else f"{split}" if split else "")
        parts.append(f"{progress.get('images_per_s', 0):,.0f} images/s")
        parts.append(f"{clock(progress.get('seconds_left', 0))} left")
    if history and history.requeues:
        parts.append(f"requeued {history.requeues} x")
    return f"  {_name(state)}  {', '.join(filter(None, parts))}"


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


def _gpus(state: StageState) -> int:
    attempt = state.history.last if state.history else None
    return attempt.ranks if attempt and state.planned.ranks == "all" else 0


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 1 or more")
    return value
