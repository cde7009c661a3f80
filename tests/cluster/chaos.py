"""Chaos: faults drawn from a seed hit a launch on the test cluster, and what comes of it must be what comes without.

Lives here: letting a schedule loose, `make chaos`. Must not: single faults (`tests.cluster.faults`), drawing them
(`tests.cluster.chaos_schedule`), judging (`tests.cluster.chaos_outcome`).
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.chaos_outcome import Hit, Outcome, Science, measure, together, verdict
from tests.cluster.chaos_schedule import KINDS, Fault, schedule
from tests.cluster.faults import Heal, Victim
from tests.cluster.project import Project
from tests.cluster.slurm import SlurmCluster

BENCHMARK = Path(__file__).with_name("chaos_benchmark.py")
OFTEN = ("--checkpoint-minutes", "0.02")
OPTIONS = ("--nodes", "2", "--gpus", "1", "--minutes", "60", "--patience", "10", "--tries", "8", *OFTEN)
ALONE = ("--executor", "local", "--gpus", "2")
"""The same two ranks, without Slurm: this must not matter either, and they start once for the whole plan."""
PARTITIONS = ("main", "grace")
DRAIN_S = 600.0
VICTIM_S = 120.0
"""How long a fault waits for a rank to hit."""


def without_faults(cluster: SlurmCluster, folder: Path) -> Science:
    """The same launch, undisturbed."""
    project = Project(cluster, folder, (*ALONE, *OFTEN))
    project.create(BENCHMARK, "chaos")
    project.launch("chaos", timeout=DRAIN_S)
    return Science.of(project)


def run_seed(cluster: SlurmCluster, folder: Path, seed: int, count: int, undisturbed: Science) -> Outcome:
    """One launch under one schedule. Prints what happens; what goes wrong on the way is the verdict."""
    planned, began = schedule(seed, count), time.monotonic()
    print(f"seed {seed}, partition {PARTITIONS[seed % 2]}:", *planned, sep="\n  ", flush=True)
    project = Project(cluster, folder, (*OPTIONS, "--partition", PARTITIONS[seed % 2]))
    hits: list[Hit] = []
    try:
        project.create(BENCHMARK, "chaos")
        project.launch("chaos")
        for hit in let_loose(project, planned):
            hits.append(hit)
        project.wait(DRAIN_S)
        complaints = verdict(project, undisturbed)
    except Exception as error:
        complaints = [f"{type(error).__name__}: {error}"]
        _cancel(project)
    outcome = measure(project, hits, complaints)
    print(f"seed {seed}: {outcome}, {time.monotonic() - began:.0f} s", flush=True)
    if complaints:
        print(f"seed {seed} FAILED, kept in {keep(project, seed)}:", *complaints, sep="\n  ", flush=True)
    return outcome


def let_loose(project: Project, planned: list[Fault]) -> Iterator[Hit]:
    """Inject the faults one after the other, until there is nothing left to hit."""
    for fault in planned:
        injected = _inject(project, fault)
        if injected is None:
            return
        hit, heal = injected
        try:
            print(f"{time.strftime('%H:%M:%S')} {fault}: {project.title(hit.key)}", flush=True)
            yield hit
            time.sleep(fault.stays)
        finally:
            heal()


def _inject(project: Project, fault: Fault) -> tuple[Hit, Heal] | None:
    """Wait for an attempt, pause, hit one; what heals it, or None if there is nothing left to hit."""
    end, pause = time.monotonic() + VICTIM_S, fault.pause
    while time.monotonic() < end and project.queue():
        if (found := _victim(project, fault)) is None:
            time.sleep(0.2)
        elif pause:
            time.sleep(pause)
            pause = 0.0
        else:
            key, victim = found
            hit = Hit(fault.kind, key, time.time(), len(project.journals().get(key, [])))
            with suppress(LookupError, OSError, ValueError, RuntimeError):  # it has just ended, or has no checkpoint
                return hit, KINDS[fault.kind].inject(victim, _unfinished(project, key))
            time.sleep(0.2)
    return None


def _victim(project: Project, fault: Fault) -> tuple[str, Victim] | None:
    """Of those that run now; with the key of its stage."""
    running = sorted(project.running().items(), key=lambda item: (item[1], item[0]))
    under_way = [(key, job) for key, job in running if project.trying(key) and project.cluster.ranks(job)]
    if not under_way:
        return None
    key, job = under_way[fault.victim % len(under_way)]
    return key, Victim(project.cluster, job, fault.victim % 2)


def _unfinished(project: Project, key: str) -> Path:
    return next(iter(project.store.root.glob(f"unfinished/*/{key[:2]}/{key}")), project.store.root / "none")


def _cancel(project: Project) -> None:
    project.cluster.run(["scancel", "--me"])
    with suppress(Exception):
        project.wait(60)


def keep(project: Project, seed: int) -> Path:
    """A copy of the project, its store and logs, and of what Slurm's daemons said."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-seed-{seed}-"))
    with suppress(shutil.Error):  # what was being written goes away
        shutil.copytree(project.folder, folder / "project", symlinks=True)
    for log in project.cluster.folder.glob("*.log"):
        shutil.copy(log, folder)
    return folder


@contextmanager
def fresh_cluster() -> Iterator[SlurmCluster]:
    """Of a seed's own: nothing that one leaves broken, queued or on the disk meets the next."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, SlurmCluster(Path(folder)) as cluster:
        yield cluster


def main() -> int:
    """`make chaos`."""
    parser = argparse.ArgumentParser(description="Let faults loose on launches on a real Slurm cluster.")
    parser.add_argument("--seeds", type=int, default=10, help="schedules 0 .. N - 1")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--faults", type=int, default=20, help="in each")
    options = parser.parse_args()
    seeds = range(options.seeds) if options.seed is None else [options.seed]
    with fresh_cluster() as cluster:
        undisturbed = without_faults(cluster, cluster.shared / "undisturbed")
    print(f"undisturbed: {len(undisturbed.artefacts)} stages, {len(undisturbed.rows)} rows", flush=True)
    outcomes = {}
    for seed in seeds:
        with fresh_cluster() as cluster:
            outcomes[seed] = run_seed(cluster, cluster.shared / f"seed-{seed}", seed, options.faults, undisturbed)
    bad = [seed for seed, outcome in outcomes.items() if outcome.complaints]
    whole = together(outcomes.values())
    print(f"in all: {whole}", *(f"{count:4} x {kind}" for kind, count in whole.kinds.most_common()), sep="\n  ")
    print(f"{len(outcomes) - len(bad)} of {len(outcomes)} schedules ended as without faults; not so: {bad or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
