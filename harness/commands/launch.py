"""`harness launch`: run or submit what a benchmark is missing, and draw its table.

Lives here: arguments and the order of a launch. Must not: science; flags choose placement, and how many seeds.
"""

import argparse
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.attempt import Attempt, tried_again
from harness.benchmark import Suite, find_suite
from harness.commands._arguments import (
    DATA_HELP,
    ROOT,
    Commands,
    add_patience,
    add_store,
    add_table,
    positive,
    positive_number,
)
from harness.commands._slurm_options import add_slurm, make_profile
from harness.commands.data import require_data
from harness.commands.leaderboard import draw
from harness.errors import UserError
from harness.launches import Launch, Planned, new_id, read_launches, write_launch
from harness.lease import user_name
from harness.placement import Placement, from_record, to_record, visible_gpus
from harness.plan import Step, make_plan, render
from harness.profile import Profile
from harness.store import Store
from harness.topology import slurm_job, slurm_restarts

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
        "--checkpoint-minutes", type=positive_number, metavar="MINUTES",
        help="time between two checkpoints of a training (default: 1, or as long as saving takes 1 %% of the time)",
    )  # fmt: skip
    add_slurm(parser)
    parser.set_defaults(run=run)
    _add_follow(commands)


def _add_follow(commands: Commands) -> None:
    parser = commands.add_parser(
        "follow", help="what a launch's last job does: start what is missing, or draw the table"
    )
    parser.add_argument("launch", metavar="ID", help="of the launch, as in STORE/launches")
    add_store(parser)
    parser.set_defaults(run=follow)


@dataclass(frozen=True)
class Order:
    """A suite, and where its plan is to run."""

    benchmark: str
    name: str
    """Of the suite."""
    suite: Suite
    placement: Placement
    steps: list[Step]

    @staticmethod
    def of(benchmark: str, name: str, suite: Suite, placement: Placement) -> "Order":
        """Plan it. Raises UserError if its batches do not divide over the ranks."""
        steps = make_plan(suite.wanted, Store(placement.store))
        require_shape(steps, placement.world)
        return Order(benchmark, name, suite, placement, steps)

    @property
    def store(self) -> Store:
        """Where its artefacts go."""
        return Store(self.placement.store)

    @property
    def missing(self) -> list[Step]:
        """What is still to be done."""
        return [step for step in self.steps if not step.done]

    def record(self, executor: str, origin: str | None = None) -> Launch:
        """What is kept of this launch; of one that follows another, only what is new."""
        stages = {} if origin else {step.stage.key: _planned(step) for step in self.steps}
        launch = new_id()
        return Launch(
            id=launch,
            origin=origin or launch,
            time=time.time(),
            user=user_name(),
            benchmark=self.benchmark,
            suite=self.name,
            seeds=self.suite.seeds,
            executor=executor,
            placement=to_record(self.placement),
            stages=stages,
        )


def run(options: argparse.Namespace) -> None:
    """Plan; then print the plan, or run or submit what is missing and draw the table."""
    name, suite = find_suite(options.benchmark, options.suite, options.seeds)
    executor = choose_executor(options.executor, dry_run=options.dry_run, nodes=options.nodes)
    order = Order.of(options.benchmark, name, suite, make_placement(options, suite, executor))
    if options.dry_run:
        preview(order, executor)
        return
    print(render(order.steps, nodes=order.placement.nodes, gpus=order.placement.gpus))
    if order.missing:
        order.store.require_writable()
        require_data(order.steps, order.placement.data, order.store)
        order.store.write_specs([step.stage for step in order.steps])
    if not order.missing:
        finish(order)
    elif executor == "slurm":
        submit(order, order.record(executor))
    else:
        execute(order, executor)
        finish(order)


def follow(options: argparse.Namespace) -> None:
    """What the last job of a launch does: submit what is missing by then, or draw the table if nothing can be."""
    store = Store(options.store)
    with tried_again(Attempt(slurm_job(), slurm_restarts(), options.launch), store, []):
        origin = next((launch for launch in read_launches(store) if launch.id == options.launch), None)
        if origin is None:
            raise UserError(f"{store.root} knows no launch {options.launch}")
        name, suite = find_suite(origin.benchmark, origin.suite, origin.seeds)
        order = Order.of(origin.benchmark, name, suite, from_record(origin.placement))
        if not order.missing or not submit(order, order.record("slurm", origin.id)):
            finish(order)


def preview(order: Order, executor: str) -> None:
    """What a launch would submit, run and cost."""
    from harness.budget import render_cost
    from harness.estimate import assumes_gpu, estimates

    placement = order.placement
    gpu = assumes_gpu(placement.gpus, placement.site)
    if executor == "slurm":
        print("\n".join(batch_files(order, gpu=gpu)))
    print(render(order.steps, nodes=placement.nodes, gpus=placement.gpus))
    found = estimates(order.missing, order.benchmark, order.store, placement.results, gpu=gpu)
    entries = [entry.stages for entry in order.suite.entries]
    shape = {"nodes": placement.nodes, "gpus": placement.gpus}
    print(render_cost(order.steps, found, entries, **shape, gpu=gpu, executor=executor))


def batch_files(order: Order, *, gpu: bool) -> list[str]:
    """What sbatch would be handed were nothing in the queue; without a cluster, for one that has GPUs if `gpu`."""
    try:
        from harness.executors import cluster, slurm
    except ModuleNotFoundError as error:
        return [f"batch files are not shown: {error}"]
    partition = order.placement.site.partition
    site = slurm.Site.ask(partition) if slurm_answers() else slurm.Site(gpus=gpu, largest_array=1000)
    return cluster.preview(cluster.Request(order.record("slurm"), order.steps, order.placement, ROOT), site)


def submit(order: Order, launch: Launch) -> bool:
    """Hand the plan to Slurm and say which jobs it became; whether there is anything to wait for."""
    from harness.executors import cluster

    under_way = cluster.submit(cluster.Request(launch, order.steps, order.placement, ROOT), announce=print)
    if under_way:
        print("nothing has to stay on this machine: harness status, harness logs KEY; the same command goes on")
    return under_way


def execute(order: Order, executor: str) -> None:
    """Run the plan here and now."""
    write_launch(order.record(executor), order.store)
    if executor == "inline":
        from harness.executors import inline

        inline.run(order.steps, order.placement)
    else:
        from harness.executors import local

        local.run(order.steps, order.placement)


def finish(order: Order) -> None:
    """The table of what is there."""
    draw(order.benchmark, order.name, order.suite, order.store, order.placement.results)


def _planned(step: Step) -> Planned:
    inputs = tuple(child.key for child in step.stage.inputs())
    return Planned(stage=step.stage.name, label=step.label, ranks=step.stage.ranks, inputs=inputs)


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
        checkpoint_s=None if options.checkpoint_minutes is None else 60 * options.checkpoint_minutes,
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
