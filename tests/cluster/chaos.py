"""Chaos: faults drawn from a seed hit a launch on the test cluster, and what comes of it must be what comes without.

Lives here: the schedule, letting it loose, the verdict. Must not: single faults (`tests.cluster.faults`). Run by
`make chaos`, which prints every schedule; `--seed N` replays one.

A schedule is fixed by its seed: kinds, pauses and victims. Which stage a fault meets depends on how fast the machine
is: that is what the verdict must not depend on.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.cluster import faults
from tests.cluster.faults import Heal, Victim
from tests.cluster.project import Project
from tests.cluster.slurm import SlurmCluster

BENCHMARK = Path(__file__).with_name("chaos_benchmark.py")
OPTIONS = ("--nodes", "2", "--gpus", "1", "--minutes", "60", "--patience", "10", "--tries", "5")
OFTEN = ("--checkpoint-minutes", "0.02")
PARTITIONS = ("main", "grace")
DRAIN_S = 1200.0
VICTIM_S = 120.0
"""How long a fault waits for a rank to hit."""

Inject = Callable[[Victim, Path], Heal]


@dataclass(frozen=True)
class Kind:
    """A kind of fault, how often it is drawn, and for how long it stays, in seconds."""

    inject: Inject
    weight: float
    shortest: float = 0.0
    longest: float = 0.0


def tell_time_is_up(victim: Victim) -> Heal:
    """What Slurm does ahead of a time limit, without the limit."""
    with suppress(subprocess.TimeoutExpired):  # soon after a controller's start scancel may repeat what it has done
        victim.cluster.run(["scancel", "--signal=USR2", victim.job], timeout=5)
    return lambda: None


def _on(fault: Callable[[Victim], Heal]) -> Inject:
    return lambda victim, unfinished: fault(victim)


def _in(fault: Callable[[Path], Heal]) -> Inject:
    return lambda victim, unfinished: fault(unfinished)


# Half preemptions and time-outs, a quarter processes, a quarter storage and nodes: what a cluster of our size sees.
KINDS: dict[str, Kind] = {
    "told that time is up": Kind(_on(tell_time_is_up), 3),
    "preempted": Kind(_on(faults.preempt), 3, 2, 8),
    "requeued": Kind(_on(faults.requeue), 2),
    "cancelled": Kind(_on(faults.cancel), 2),
    "a rank killed": Kind(_on(faults.kill_rank), 2),
    "all ranks killed": Kind(_on(faults.kill_all_ranks), 2),
    "a rank hangs": Kind(_on(faults.hang_rank), 1, 15, 25),
    "node lost": Kind(_on(faults.fail_node), 0.5, 20, 35),
    "link cut, attempts on both sides": Kind(_on(faults.cut_link), 0.5, 40, 50),
    "link cut and healed": Kind(_on(faults.cut_link), 0.5, 1, 4),
    "controller restarted": Kind(_on(faults.restart_controller), 0.5),
    "disk full": Kind(_on(faults.fill_disk), 1, 5, 20),
    "store read-only": Kind(_on(faults.make_read_only), 0.5, 5, 20),
    "store gone": Kind(_on(faults.vanish), 0.5, 5, 30),
    "a bit of a checkpoint": Kind(_in(faults.damage_checkpoint), 0.5),
    "half of a checkpoint": Kind(_in(faults.truncate_checkpoint), 0.5),
    "clock an hour ahead": Kind(_on(partial(faults.wrong_clock, hours=1)), 0.25, 10, 20),
    "clock an hour behind": Kind(_on(partial(faults.wrong_clock, hours=-1)), 0.25, 10, 20),
}


@dataclass(frozen=True)
class Fault:
    """One line of a schedule."""

    pause: float
    """Seconds before it."""
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
        Fault(draw.uniform(1, 6), name, draw.uniform(KINDS[name].shortest, KINDS[name].longest), draw.randrange(64))
        for name in names
    ]


def let_loose(project: Project, planned: list[Fault], say: Callable[[str], None]) -> int:
    """Inject the faults one after the other; how many met a victim before the launch was done."""
    for number, fault in enumerate(planned):
        time.sleep(fault.pause)
        heal = _inject(project, fault, say)
        if heal is None:
            return number
        time.sleep(fault.stays)
        heal()
    return len(planned)


def _inject(project: Project, fault: Fault, say: Callable[[str], None]) -> Heal | None:
    """Wait for a victim and hit it; what heals it, or None if there is nothing left to hit."""
    end = time.monotonic() + VICTIM_S
    while time.monotonic() < end and project.queue():
        for key, victim in _victims(project, fault):
            try:
                heal = KINDS[fault.kind].inject(victim, _unfinished(project, key))
            except (LookupError, OSError, ValueError, RuntimeError):
                continue  # it has just ended, or has no checkpoint yet
            say(f"{time.strftime('%H:%M:%S')} {fault}: job {victim.job}, {project.title(key)}")
            return heal
        time.sleep(0.5)
    return None


def _victims(project: Project, fault: Fault) -> Iterator[tuple[str, Victim]]:
    running = sorted(project.running().items(), key=lambda item: (item[1], item[0]))
    under_way = [(key, job) for key, job in running if project.trying(key) and project.cluster.ranks(job)]
    if under_way:
        key, job = under_way[fault.victim % len(under_way)]
        yield key, Victim(project.cluster, job, fault.victim % 2)


def _unfinished(project: Project, key: str) -> Path:
    return next(iter(project.store.root.glob(f"unfinished/*/{key[:2]}/{key}")), project.store.root / "none")


def verdict(project: Project, undisturbed: Project) -> list[str]:
    """Everything that is not as it would be without faults; nothing, if all is well."""
    found = []
    if project.rows() != undisturbed.rows():
        found.append("the rows differ in their science, or some are missing")
    ours, theirs = project.artefacts(), undisturbed.artefacts()
    found += [f"no artefact {key[:12]}" for key in theirs.keys() - ours.keys()]
    found += [f"artefact {key[:12]} differs" for key in theirs.keys() & ours.keys() if ours[key] != theirs[key]]
    for stage in project.stages(ours):
        project.store.verify(stage)
    done = project.events("done")
    found += [f"{project.title(key)} was done {len(events)} times" for key, events in done.items() if len(events) != 1]
    return found


def goodput(project: Project) -> tuple[int, int]:
    """Updates that count, and all that were made."""
    pairs = [pair for key in project.artefacts() if (pair := project.history(key).goodput) is not None]
    return sum(useful for useful, _ in pairs), sum(made for _, made in pairs)


def run_seed(cluster: SlurmCluster, folder: Path, seed: int, count: int, undisturbed: Project) -> list[str]:
    """One launch under one schedule. Prints what happens, returns the verdict."""
    planned = schedule(seed, count)
    print(f"seed {seed}, partition {PARTITIONS[seed % 2]}:", *planned, sep="\n  ", flush=True)
    project = Project(cluster, folder, (*OPTIONS, *OFTEN, "--partition", PARTITIONS[seed % 2]))
    project.create(BENCHMARK, "chaos")
    began = time.monotonic()
    project.launch("chaos")
    met = let_loose(project, planned, partial(print, flush=True))
    project.wait(DRAIN_S)
    useful, made = goodput(project)
    attempts = sum(project.history(key).attempts for key in project.artefacts())
    print(
        f"seed {seed}: {met} of {count} faults met a victim, {len(project.artefacts())} stages in {attempts} attempts,"
        f" goodput {useful / max(made, 1):.1%} of {made:,} updates, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return verdict(project, undisturbed)


def without_faults(cluster: SlurmCluster, folder: Path) -> Project:
    """The same launch, undisturbed."""
    project = Project(cluster, folder, (*OPTIONS, *OFTEN))
    project.create(BENCHMARK, "chaos")
    project.launch("chaos")
    project.wait(DRAIN_S)
    return project


def main() -> int:
    """`make chaos`."""
    parser = argparse.ArgumentParser(description="Let faults loose on launches on a real Slurm cluster.")
    parser.add_argument("--seeds", type=int, default=10, help="schedules 0 .. N - 1")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--faults", type=int, default=20, help="in each")
    options = parser.parse_args()
    seeds = range(options.seeds) if options.seed is None else [options.seed]
    bad: dict[int, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, SlurmCluster(Path(folder)) as cluster:
        undisturbed = without_faults(cluster, cluster.shared / "undisturbed")
        print(f"undisturbed: {len(undisturbed.artefacts())} stages, {len(undisturbed.rows())} rows", flush=True)
        for seed in seeds:
            if found := run_seed(cluster, cluster.shared / f"seed-{seed}", seed, options.faults, undisturbed):
                bad[seed] = found
                print(f"seed {seed} FAILED:", *found, sep="\n  ", flush=True)
    print(f"{len(seeds) - len(bad)} of {len(seeds)} schedules ended as without faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
