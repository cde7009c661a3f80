"""`harness data`: looking after image sets.

Lives here: preparing them, and whether a folder is the one that a store was prepared from. Must not: reading images.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from harness.benchmark import find_suite
from harness.commands._arguments import DATA_HELP, ROOT, Commands, add_patience, add_suite, positive
from harness.errors import UserError
from harness.placement import Placement
from harness.plan import Step, make_plan
from harness.store import Store


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    data = commands.add_parser("data", help="look after image sets").add_subparsers(required=True, metavar="COMMAND")
    parser = data.add_parser("prepare", help="turn a folder of images into what training reads, here and now")
    add_suite(parser)
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    parser.add_argument("--workers", type=positive, help="threads (default: one for each core this process may use)")
    add_patience(parser)
    parser.set_defaults(run=prepare)


def prepare(options: argparse.Namespace) -> None:
    """Prepare here and now the image sets that a suite needs, and say what every one of them holds."""
    from harness.executors import inline

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
        inline.run(sets, placement)
    for step in sets:
        manifest = store.manifest(step.stage)
        facts, megabytes = manifest["payload"], sum(file["bytes"] for file in manifest["files"].values()) / 1e6
        print(f"{facts['name']} {'was prepared already' if step.done else 'is prepared'}: {facts['fingerprint']}")
        print(f"    {megabytes:,.1f} MB in {store.artefact(step.stage)}")


def require_data(steps: Sequence[Step], data: Path | None, store: Store) -> None:
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
