"""`harness launch`: run or submit what a benchmark is missing, and draw its table.

Lives here: arguments and the order of a launch. Must not: science; flags choose placement, and how many seeds.
"""

import argparse
import getpass
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.benchmark import Suite, find_suite
from harness.commands._arguments import DATA_HELP, ROOT, Commands, add_patience, add_table, positive, positive_number
from harness.commands._slurm_options import add_slurm, make_profile
from harness.commands.data import require_data
from harness.commands.leaderboard import draw
from harness.errors import UserError
from harness.launches import Launch, Planned, new_id, write_launch
from harness.placement import CHECKPOINT_S, Placement, visible_gpus
from harness.plan import Step, make_plan, render
from harness.profile import Profile
from harness.store import Store

if TYPE_CHECKING:
    from harness.executors.cluster import Request

EXECUTORS = ("auto", "slurm", "local", "inline")


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("launch", help="run or submit what a benchmark is missing, and draw its table")
    add_table(parser)
    parser.add_argument("--nodes", type=positive, default=1, help="machines (default 1)")
    parser.add_argument(
        "--gpus", type=positive, help="ranks on each, one per GPU (default: the suite's on Slurm, else this machine's)"
    )
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    parser.add_argument(
        "--executor", choices=EXECUTORS, default="auto", help="auto: Slurm where it answers, else local"
    )
    parser.add_argument("--dry-run", action="store_true", help="print batch files, plan and cost, and stop")
    parser.add_argument("--workers", type=positive, help="loader threads of each rank (default: the suite's)")
    add_patience(parser)
    parser.add_argument(
        "--checkpoint-minutes", type=positive_number, default=CHECKPOINT_S / 60, metavar="MINUTES",
        help="time between two checkpoints of a training (default 1), longer if saving takes above 1 %% of the time",
    )  # fmt: skip
    add_slurm(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Plan; then print the plan, or run or submit what is missing and draw the table."""
    name, suite = find_suite(options.benchmark, options.suite, options.seeds)
    executor = choose_executor(options.executor, dry_run=options.dry_run, nodes=options.nodes)
    placement = make_placement(options, suite, executor)
    store = Store(placement.store)
    steps = make_plan(suite.wanted, store)
    require_shape(steps, placement.world)
    if options.dry_run:
        preview(options, name, suite, steps, placement, executor)
        return
    print(render(steps, nodes=placement.nodes, gpus=placement.gpus))
    if any(not step.done for step in steps):
        store.require_writable()
        store.share()
        require_data(steps, placement.data, store)
        store.write_specs([step.stage for step in steps])
        if executor == "slurm" and submit(options, name, suite, steps, placement):
            return
        execute(record(options, name, suite, steps, placement, executor), executor, steps, placement)
    draw(options.benchmark, name, suite, store, placement.results)


def preview(
    options: argparse.Namespace, name: str, suite: Suite, steps: list[Step], placement: Placement, executor: str
) -> None:
    """What a launch would submit, run and cost."""
    from harness.budget import render_cost
    from harness.estimate import estimates

    gpu = placement.gpus > 1 or bool(visible_gpus())
    if executor == "slurm":
        print("\n".join(batch_files(options, name, suite, steps, placement, gpu=gpu)))
    print(render(steps, nodes=placement.nodes, gpus=placement.gpus))
    store = Store(placement.store)
    found = estimates([s for s in steps if not s.done], options.benchmark, store, placement.results, gpu=gpu)
    entries = [entry.stages for entry in suite.entries]
    print(render_cost(steps, found, entries, nodes=placement.nodes, gpus=placement.gpus, gpu=gpu))


def batch_files(
    options: argparse.Namespace, name: str, suite: Suite, steps: list[Step], placement: Placement, *, gpu: bool
) -> list[str]:
    """What sbatch would be handed; without a cluster, for one whose nodes have GPUs if `gpu`."""
    try:
        from harness.executors import cluster, slurm
    except ModuleNotFoundError as error:
        return [f"batch files are not shown: {error}"]
    site = slurm.Site.ask(placement.site.partition) if slurm_answers() else slurm.Site(gpus=gpu, largest_array=1000)
    return cluster.preview(_request(options, name, suite, steps, placement), site)


def submit(options: argparse.Namespace, name: str, suite: Suite, steps: list[Step], placement: Placement) -> bool:
    """Hand the plan to Slurm and say which jobs it became; whether there is anything to wait for."""
    from harness.executors import cluster

    under_way = cluster.submit(_request(options, name, suite, steps, placement), announce=print)
    if under_way:
        print("nothing has to stay on this machine: harness status, harness logs KEY; the same command goes on")
    return under_way


def execute(launch: Launch, executor: str, steps: list[Step], placement: Placement) -> None:
    """Run the plan here and now."""
    write_launch(launch, Store(placement.store))
    if executor == "inline":
        from harness.executors import inline

        inline.run(steps, placement)
    elif executor == "local":
        from harness.executors import local

        local.run(steps, placement)


def record(
    options: argparse.Namespace, name: str, suite: Suite, steps: list[Step], placement: Placement, executor: str
) -> Launch:
    """What is kept of this launch."""
    launch = new_id()
    return Launch(
        id=launch,
        origin=options.follows or launch,
        time=time.time(),
        user=getpass.getuser(),
        benchmark=options.benchmark,
        suite=name,
        seeds=suite.seeds,
        executor=executor,
        results=str(placement.results.resolve()),
        nodes=placement.nodes,
        gpus=placement.gpus,
        stages={step.stage.key: _planned(step) for step in steps},
    )


def _planned(step: Step) -> Planned:
    inputs = tuple(child.key for child in step.stage.inputs())
    return Planned(stage=step.stage.name, label=step.label, ranks=step.stage.ranks, inputs=inputs)


def _request(
    options: argparse.Namespace, name: str, suite: Suite, steps: list[Step], placement: Placement
) -> "Request":
    from harness.executors.cluster import Request

    launch = record(options, name, suite, steps, placement, "slurm")
    table = repeated(options, launch, placement)
    return Request(launch=launch, steps=steps, placement=placement, root=ROOT, table=table)


def repeated(options: argparse.Namespace, launch: Launch, placement: Placement) -> list[str]:
    """The arguments that repeat this launch from anywhere: what was typed, with its folders in full."""
    words = [*options.words, "--executor", "slurm", "--follows", launch.origin, "--suite", launch.suite]
    words += ["--store", str(placement.store.resolve()), "--results", str(placement.results.resolve())]
    if placement.data is not None:
        words += ["--data", str(placement.data.resolve())]
    if options.profile is not None and ".toml" in options.profile:
        file, dot, table = options.profile.partition(".toml")
        words += ["--profile", f"{Path(file + dot).resolve()}{table}"]
    return words


def require_shape(steps: Sequence[Step], world: int) -> None:
    """Raise UserError if a stage's batches do not divide over the ranks: before anything is submitted."""
    for step in steps:
        recipe = getattr(step.stage, "recipe", None)
        if recipe is not None and not step.done:
            try:
                recipe.accumulation(world)
            except UserError as error:
                raise UserError(f"{step.title}: {error}") from error


def make_placement(options: argparse.Namespace, suite: Suite, executor: str) -> Placement:
    """Where the launch runs, by its options and the cluster's profile."""
    site = make_profile(options) if executor == "slurm" else Profile()
    usual = site.gpus or suite.gpus
    return Placement(
        store=options.store,
        results=options.results,
        data=options.data,
        nodes=options.nodes,
        gpus=options.gpus or (usual if executor == "slurm" else min(suite.gpus, max(1, len(visible_gpus())))),
        workers=options.workers or suite.workers,
        patience_s=options.patience,
        checkpoint_s=60 * options.checkpoint_minutes,
        site=site,
        tries=options.tries,
    )


def choose_executor(wanted: str, *, dry_run: bool, nodes: int) -> str:
    """`auto` is Slurm where its commands answer, else local. A dry run asks nobody: several nodes mean Slurm."""
    if wanted != "auto":
        return wanted
    if dry_run:
        return "slurm" if nodes > 1 or shutil.which("sbatch") else "local"
    return "slurm" if slurm_answers() else "local"


def slurm_answers() -> bool:
    """Whether this machine belongs to a cluster: the commands may be installed where none is."""
    if shutil.which("sbatch") is None:
        return False
    try:
        return subprocess.run(["sinfo", "-h"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
