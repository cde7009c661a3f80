"""`harness simulate`: when would it be done, and at what price, before anything is submitted.

Lives here: the command. Must not: estimates (`harness.estimate`), the queue that is played through
(`harness.simulation`).
"""

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.benchmark import find_suite
from harness.budget import assumed_device, span
from harness.commands._arguments import Commands, add_table, positive
from harness.errors import UserError
from harness.estimate import Estimate, assumes_gpu, estimates
from harness.history import read_history
from harness.job_cost import JobCost, job_costs
from harness.plan import Step, make_plan
from harness.profile import read_profile
from harness.simulation import Schedule, checkpoint_interval, goodput, simulate
from harness.store import THREADS, Store

SAVE_S, RESTART_S = 0.5, 60.0
"""How long a checkpoint holds training up, and from the start of an attempt to its first update: where no journal
tells."""
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
NODE_DAYS = 38 * 4
"""Days between two failures of a node: one in 38 days on four."""
TRAINING_S = 3000 * HOUR
"""Length of the interrupted training: so long that chance hardly shows."""


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("simulate", help="say when a benchmark would be done on so many nodes, at what price")
    add_table(parser)
    parser.add_argument("--nodes", required=True, metavar="N,N,...", help="sizes of the cluster: 4,8,16")
    parser.add_argument(
        "--nodes-per-job", type=positive, default=1, metavar="K", help="nodes of a training (default 1)"
    )
    parser.add_argument("--gpus", type=positive, help="ranks on each node (default: the profile's, else the suite's)")
    parser.add_argument("--profile", metavar="NAME", help="of the cluster, as for a launch")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table, the critical path and the goodput."""
    sizes, each = _sizes(options.nodes), options.nodes_per_job
    if each > min(sizes):
        raise UserError(f"--nodes-per-job {each} is more than --nodes {min(sizes)}: no job would ever start")
    site = read_profile(options.profile)
    name, suite = find_suite(options.benchmark, options.suite, options.seeds)
    gpus = options.gpus or site.gpus or suite.gpus
    gpu = assumes_gpu(gpus, site)
    store = Store(options.store)
    steps = make_plan(suite.wanted, store)
    missing = [step for step in steps if not step.done]
    found = estimates(missing, options.benchmark, store, options.results, gpu=gpu)
    _require_all(missing, found)
    print(assumed_device(gpu))
    device = "GPU" if gpu else "CPU core"
    print(f"{options.benchmark} {name}: {len(missing)} stages to run, a training on {each} x {gpus} {device}s")
    if missing:
        jobs = job_costs(missing, found, nodes=each, gpus=gpus, gpu=gpu, executor="slurm")
        print("\n".join(_queue_lines(jobs, found, sizes, gpus)))
        print("\n".join(_goodput_lines(steps, store, each)))


def _queue_lines(jobs: Sequence[JobCost], found: Mapping[str, Estimate], sizes: Iterable[int], gpus: int) -> list[str]:
    """A line for each size of the cluster, then what keeps all of them from being faster."""
    tasks = [job.task for job in jobs]
    hours = sum(sum(job.hours.values()) for job in jobs)
    lines = [f"{'nodes':<8}{'makespan':>14}{'at least':>14}{'busy':>8}{'device-hours':>15}"]
    for nodes in sizes:
        went = simulate(tasks, nodes * gpus)
        times = f"{span(went.makespan):>14}{span(went.lower_bound):>14}"
        lines.append(f"{nodes:<8}{times}{100 * went.busy:>6.0f} %{hours:>15,.1f}")
    return [*lines, *_path_lines(went, jobs, found)]


def _path_lines(went: Schedule, jobs: Iterable[JobCost], found: Mapping[str, Estimate]) -> list[str]:
    """Each job of the longest chain by its long stage."""
    main = {job.key: job.main for job in jobs}
    total = sum(task.seconds for task in went.critical_path)
    lines = [f"critical path, {span(total)} on any number of nodes:"]
    for task in went.critical_path:
        source = found[main[task.key].stage.key].source
        lines.append(f"  {span(task.seconds):>12}  {source:<10}{task.title}")
    return lines


def _goodput_lines(steps: Iterable[Step], store: Store, each: int) -> list[str]:
    """What is left of a training's time under interruptions, and the times this rests on."""
    save, how_saved, restart, how_restarted = _times(steps, store)
    every = checkpoint_interval(save)
    dangers = [
        ("a preemption every 30 min, without a signal", 30 * MINUTE, False),
        ("a preemption every 30 min, with a signal", 30 * MINUTE, True),
        ("a preemption every 4 h, without a signal", 4 * HOUR, False),
        (f"a node lost every {NODE_DAYS // 4} days per 4 nodes", NODE_DAYS * DAY / each, False),
    ]
    lines = [
        f"goodput of a training: a checkpoint every {every:.0f} s, which holds it up for {save:.2g} s ({how_saved});"
        f" {restart:.0f} s to start again ({how_restarted})"
    ]
    for what, mtbf, grace in dangers:
        share = goodput(
            checkpoint_s=every, save_s=save, restart_s=restart, mtbf_s=mtbf, grace=grace, horizon_s=TRAINING_S, seed=0
        )
        lines.append(f"  {100 * share:>5.1f} %  {what}")
    return lines


def _times(steps: Iterable[Step], store: Store) -> tuple[float, str, float, str]:
    """Seconds of a save and of a restart, each with where it is from: the median of this suite's trainings, if any."""
    trainings = [step.stage for step in steps if getattr(step.stage, "recipe", None) is not None]
    with ThreadPoolExecutor(THREADS) as pool:
        told = list(pool.map(lambda stage: read_history(store.journal_path(stage.key)), trainings))
    saved = [seconds for history in told for seconds in history.saved_seconds]
    started = [seconds for history in told for seconds in history.restart_seconds]
    save, how_saved = (statistics.median(saved), "measured") if saved else (SAVE_S, "assumed")
    restart, how_started = (statistics.median(started), "measured") if started else (RESTART_S, "assumed")
    return save, how_saved, restart, how_started


def _require_all(missing: Iterable[Step], found: Mapping[str, Estimate]) -> None:
    """Raise UserError if a stage has no estimate: a simulation without it would promise too much."""
    for step in missing:
        if step.stage.key not in found:
            raise UserError(
                f"{step.title} has no estimate: prepare its images first (`harness data prepare`), which tells how"
                " many there are, and install torch, which counts a network's arithmetic"
            )


def _sizes(text: str) -> list[int]:
    """`4,8,16` as numbers."""
    try:
        return [positive(size) for size in text.split(",")]
    except argparse.ArgumentTypeError as error:
        raise UserError(f"--nodes {text}: {error}; write 4,8,16, say") from error
