"""The `harness` command.

Lives here: arguments, the order of a launch, exit codes. Must not: science; flags choose
placement, and how many seeds.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.benchmark import Suite, find_suite
from harness.errors import UserError, exit_code
from harness.placement import CHECKPOINT_S, PATIENCE_S, Placement, visible_gpus
from harness.plan import Step, count_trainings, make_plan, render, render_sharing
from harness.store import Store

ROOT = Path(__file__).resolve().parent.parent
EXECUTORS = ("auto", "slurm", "local", "inline")
DATA_HELP = "folder of raw images, as the benchmark wants it: train/<class>/* and val/<class>/*, say"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; see `harness.errors.exit_code`."""
    options = _parser().parse_args(argv)
    return exit_code(lambda: options.run(options))


def launch(options: argparse.Namespace) -> None:
    """Plan; then print the plan, or run or submit what is missing and draw the table."""
    name, suite = find_suite(options.benchmark, options.suite, options.seeds)
    executor = choose_executor(options.executor, dry_run=options.dry_run, nodes=options.nodes)
    placement = _placement(options, suite, executor)
    store = Store(placement.store)
    steps = make_plan(suite.wanted, store)
    require_shape(steps, placement.world)
    print(render(steps, nodes=placement.nodes, gpus=placement.gpus))
    if options.dry_run:
        print(render_sharing(*count_trainings(entry.stages for entry in suite.entries)))
        return
    if any(not step.done for step in steps):
        store.require_writable()
        require_data(steps, placement.data, store)
        store.write_specs([step.stage for step in steps])
        if executor == "slurm":
            submit(options.benchmark, name, suite.seeds, steps, placement)
            return
        execute(executor, steps, placement)
    draw(options.benchmark, name, suite, placement)


def submit(benchmark: str, suite: str, seeds: int, steps: list[Step], placement: Placement) -> None:
    """Hand the plan to Slurm, say which jobs it became, and leave."""
    from harness.executors import slurm

    table = [sys.executable, "-m", "harness.cli", "leaderboard", benchmark, "--suite", suite, "--seeds", str(seeds)]
    table += ["--store", str(placement.store.resolve()), "--results", str(placement.results.resolve())]
    slurm.submit(steps, placement, table, f"{benchmark}-{suite}", announce=print)
    print(
        f"logs: {placement.store / 'logs' / 'slurm'}; queue: squeue -u $USER; the same command submits what is missing"
    )


def execute(executor: str, steps: list[Step], placement: Placement) -> None:
    """Run the plan here and now."""
    if executor == "inline":
        from harness.executors import inline

        inline.run(steps, placement)
    else:
        from harness.executors import local

        local.run(steps, placement)


def draw(benchmark: str, suite_name: str, suite: Suite, placement: Placement) -> None:
    """Rows from finished evaluations, tables from rows, and the table on the terminal."""
    from harness.leaderboard.rows import collect, read_rows
    from harness.leaderboard.table import to_text, write_tables

    default_suite, _ = find_suite(benchmark, None)
    unfinished = collect(benchmark, suite_name, suite, Store(placement.store), placement.results)
    keys = {entry.evaluate.key for entry in suite.entries}
    rows = read_rows(benchmark, suite_name, keys, placement.results)
    paths = write_tables(benchmark, suite_name, rows, placement.results, default_suite=default_suite)
    print(to_text(rows))
    print(f"{len(rows)} rows, {unfinished} unfinished; written: {', '.join(str(path) for path in paths)}")


def leaderboard(options: argparse.Namespace) -> None:
    """Collect what is finished and derive the tables again."""
    name, suite = find_suite(options.benchmark, options.suite, options.seeds)
    draw(options.benchmark, name, suite, Placement(store=options.store, results=options.results))


def prepare_data(options: argparse.Namespace) -> None:
    """Prepare here and now the image sets that a suite needs, and say what every one of them holds."""
    _, suite = find_suite(options.benchmark, options.suite)
    store = Store(options.store)
    steps = make_plan(suite.wanted, store)
    sets = [step for step in steps if step.stage.name == "prepare"]
    require_data(sets, options.data, store)
    if any(not step.done for step in sets):
        store.require_writable()
        store.write_specs([step.stage for step in sets])
        workers = options.workers or len(os.sched_getaffinity(0))
        placement = Placement(
            store=options.store,
            results=ROOT / "results",
            data=options.data,
            workers=workers,
            patience_s=options.patience,
        )
        execute("inline", sets, placement)
    for step in sets:
        manifest = store.manifest(step.stage)
        facts, megabytes = manifest["payload"], sum(file["bytes"] for file in manifest["files"].values()) / 1e6
        print(f"{facts['name']} {'was prepared already' if step.done else 'is prepared'}: {facts['fingerprint']}")
        print(f"    {megabytes:,.1f} MB in {store.artefact(step.stage)}")


def require_shape(steps: list[Step], world: int) -> None:
    """Raise UserError if a stage's batches do not divide over the ranks: before anything is submitted."""
    for step in steps:
        recipe = getattr(step.stage, "recipe", None)
        if recipe is not None and not step.done:
            try:
                recipe.accumulation(world)
            except UserError as error:
                raise UserError(f"{step.title}: {error}") from error


def require_data(steps: list[Step], data: Path | None, store: Store) -> None:
    """Raise UserError if a data folder is missing or odd, or is not the one the store was prepared from."""
    for step in steps:
        source = getattr(step.stage, "source", None)
        if source is None:
            continue
        if not step.done:
            source.check(data)
        elif data is not None and source.listing(data) != store.manifest(step.stage)["payload"]["listing"]:
            raise UserError(
                f"{store.root} holds {source.name} prepared from other images than {data}: use another --store"
            )


def _placement(options: argparse.Namespace, suite: Suite, executor: str) -> Placement:
    return Placement(
        store=options.store,
        results=options.results,
        data=options.data,
        nodes=options.nodes,
        gpus=options.gpus or (suite.gpus if executor == "slurm" else min(suite.gpus, max(1, len(visible_gpus())))),
        workers=options.workers or suite.workers,
        patience_s=options.patience,
        checkpoint_s=60 * options.checkpoint_minutes,
        minutes=options.minutes,
        partition=options.partition,
        account=options.account,
        qos=options.qos,
        constraint=options.constraint,
        sbatch=tuple(options.sbatch),
        setup=tuple(options.setup),
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="harness", description="Benchmarks for pruning and knowledge distillation.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_launch(commands.add_parser("launch", help="run or submit what a benchmark is missing, and draw its table"))
    table = commands.add_parser("leaderboard", help="collect finished rows and derive the tables again")
    _add_common(table)
    table.set_defaults(run=leaderboard)
    data = commands.add_parser("data", help="look after image sets").add_subparsers(required=True, metavar="COMMAND")
    _add_prepare(data.add_parser("prepare", help="turn a folder of images into what training reads, here and now"))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    _add_suite(parser)
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder of rows and tables")
    parser.add_argument(
        "--seeds", type=_positive, metavar="N", help="train every entry under seeds 0 .. N-1 (default: the suite's)"
    )


def _add_suite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", help="a module of benchmarks/")
    parser.add_argument("--suite", help="one of the benchmark's suites; the first by default")
    store = Path(os.environ.get("HARNESS_STORE", ROOT / "store"))
    parser.add_argument(
        "--store", type=Path, default=store, help="folder of artefacts (default: $HARNESS_STORE, else %(default)s)"
    )


def _add_patience(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--patience", type=_positive_number, default=PATIENCE_S, metavar="SECONDS",
        help="end a stage that waits longer for data or another rank (default 60)",
    )  # fmt: skip


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    _add_suite(parser)
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    parser.add_argument("--workers", type=_positive, help="threads (default: one for each core this process may use)")
    _add_patience(parser)
    parser.set_defaults(run=prepare_data)


def _add_launch(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    parser.add_argument("--nodes", type=_positive, default=1, help="machines (default 1)")
    parser.add_argument(
        "--gpus", type=_positive, help="ranks on each, one per GPU (default: the suite's on Slurm, else this machine's)"
    )
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    parser.add_argument(
        "--executor", choices=EXECUTORS, default="auto", help="auto: Slurm where it answers, else local"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("--workers", type=_positive, help="loader threads of each rank (default: the suite's)")
    _add_patience(parser)
    parser.add_argument(
        "--checkpoint-minutes", type=_positive_number, default=CHECKPOINT_S / 60, metavar="MINUTES",
        help="time between two checkpoints of a training (default 10)",
    )  # fmt: skip
    site = parser.add_argument_group("Slurm")
    site.add_argument("--minutes", type=_positive, default=24 * 60, help="time limit of a job (default: a day)")
    for name in ("partition", "account", "qos", "constraint"):
        site.add_argument(f"--{name}")
    site.add_argument("--sbatch", action="append", default=[], metavar="KEY=VALUE", help="any other option of sbatch")
    site.add_argument(
        "--setup", action="append", default=[], metavar="LINE", help="shell line before the job's command"
    )
    parser.set_defaults(run=launch)


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
