"""What a seed of chaos means: which faults, when, for how long, to whom.

Lives here: kinds of faults and how often they are drawn, the schedule. Must not: injecting (`tests.cluster.chaos`).

A schedule is fixed by its seed: kinds, pauses and victims. Which stage a fault meets depends on how fast the machine
is: that is what the verdict must not depend on.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.cluster import faults
from tests.cluster.faults import Heal, Victim

PAUSE_S = (0.5, 5.0)
"""Before each fault, once there is an attempt to hit: one that is hit as soon as it begins never gets anywhere."""

Inject = Callable[[Victim, Path], Heal]


@dataclass(frozen=True)
class Kind:
    """A kind of fault, how often it is drawn, and for how long it stays, in seconds."""

    inject: Inject
    weight: float
    shortest: float = 0.0
    longest: float = 0.0


def _on(fault: Callable[[Victim], Heal]) -> Inject:
    return lambda victim, unfinished: fault(victim)


def _in(fault: Callable[[Path], Heal]) -> Inject:
    return lambda victim, unfinished: fault(unfinished)


# Half preemptions and time-outs, a quarter processes, a quarter storage and nodes: what a cluster of our size sees.
KINDS: dict[str, Kind] = {
    "told that time is up": Kind(_on(faults.tell_time_is_up), 3),
    "preempted": Kind(_on(faults.preempt), 3, 2, 8),
    "requeued": Kind(_on(faults.requeue), 2),
    "cancelled": Kind(_on(faults.cancel), 2),
    "a rank killed": Kind(_on(faults.kill_rank), 2),
    "all ranks killed": Kind(_on(faults.kill_all_ranks), 2),
    "a rank hangs": Kind(_on(faults.hang_rank), 1, 12, 16),
    "node lost": Kind(_on(faults.fail_node), 0.5, 20, 35),
    "link cut, attempts on both sides": Kind(_on(faults.cut_link), 0.5, 40, 50),
    "link cut and healed": Kind(_on(faults.cut_link), 0.5, 1, 4),
    "controller restarted": Kind(_on(faults.restart_controller), 0.5),
    "disk full": Kind(_on(faults.fill_disk), 1, 5, 15),
    "store read-only": Kind(_on(faults.make_read_only), 0.5, 5, 15),
    "store gone": Kind(_on(faults.vanish), 0.5, 5, 15),
    "a bit of a checkpoint": Kind(_in(faults.damage_checkpoint), 0.5),
    "half of a checkpoint": Kind(_in(faults.truncate_checkpoint), 0.5),
    "clock an hour ahead": Kind(_on(partial(faults.wrong_clock, hours=1)), 0.25, 10, 15),
    "clock an hour behind": Kind(_on(partial(faults.wrong_clock, hours=-1)), 0.25, 10, 15),
}


@dataclass(frozen=True)
class Fault:
    """One line of a schedule."""

    pause: float
    """Seconds before it, with an attempt under way."""
    kind: str
    stays: float
    victim: int
    """Of the jobs that run then, the one with this number, counted round and round; the same for its rank."""

    def __str__(self) -> str:
        stays = f" for {self.stays:.0f} s" if self.stays else ""
        return f"after {self.pause:.1f} s: {self.kind}{stays}, victim {self.victim}"


def schedule(seed: int, count: int) -> list[Fault]:
    """What a seed means."""
    draw = random.Random(f"chaos {seed}")
    names = draw.choices(list(KINDS), [kind.weight for kind in KINDS.values()], k=count)
    return [
        Fault(draw.uniform(*PAUSE_S), name, draw.uniform(KINDS[name].shortest, KINDS[name].longest), draw.randrange(64))
        for name in names
    ]
