"""`python -m harness.run KEY ...`: run stages on the ranks of this launch. What every job executes.

Lives here: skip, verify, run, publish. Must not: what a stage does, or where it runs.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.attempt import Attempt, journalled, require_code, tried_again
from harness.context import Context
from harness.ending import Ending
from harness.errors import exit_code
from harness.journal import Event, Journal
from harness.lease import Lease
from harness.placement import PATIENCE_S
from harness.progress import Screen
from harness.provenance import EARLIER, provenance
from harness.spec import Json, Stage
from harness.store import Store
from harness.topology import Topology, detect, slurm_job, slurm_restarts

if TYPE_CHECKING:
    from harness.engine.group import Group


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stages that the command line names; see `harness.errors.exit_code`."""
    parser = argparse.ArgumentParser(prog="python -m harness.run", description="Run stages that a launch has planned.")
    parser.add_argument("keys", nargs="+", metavar="KEY", help="stages, in an order in which they can run")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of raw images")
    parser.add_argument("--workers", type=int, default=1, help="loader threads of each rank")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="longest wait for data or another rank, s")
    parser.add_argument("--checkpoint-minutes", type=float, help="between two checkpoints")
    parser.add_argument("--need-gpu", action="store_true", help="refuse to run on a CPU")
    parser.add_argument("--launch", metavar="ID", help="the launch this is a job of: a failure is tried again")
    parser.add_argument("--tries", type=int, default=1, help="attempts in a row that may fail without progress")
    parser.add_argument("--code", type=Path, help="refuse to run any other code than this folder's")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _end)
    ending = Ending()
    signal.signal(signal.SIGUSR2, lambda *_: ending.ask("the machine is taken away soon"))
    store, screen = Store(options.store), Screen()
    attempt = Attempt(slurm_job(), slurm_restarts(), options.launch, options.tries)

    def work() -> None:
        if options.code is not None:
            require_code(options.code)
        with tried_again(attempt, store, options.keys):
            run_stages(
                [store.read_spec(key) for key in options.keys],
                store,
                detect(),
                data=options.data,
                workers=options.workers,
                patience_s=options.patience,
                checkpoint_s=None if options.checkpoint_minutes is None else 60 * options.checkpoint_minutes,
                ending=ending,
                attempt=attempt,
                need_gpu=options.need_gpu,
                listener=lambda stage, event: screen.show(f"{stage.name} {stage.key[:12]}", event),
            )

    return exit_code(work)


def run_stages(
    stages: Sequence[Stage],
    store: Store,
    topology: Topology,
    *,
    data: Path | None,
    workers: int,
    listener: Callable[[Stage, Event], None],
    patience_s: float = PATIENCE_S,
    checkpoint_s: float | None = None,
    ending: Ending | None = None,
    attempt: Attempt | None = None,
    need_gpu: bool = False,
) -> None:
    """Run the stages that are not done, in order, in one process group. Rank 0 tells `listener`."""
    from harness.engine.group import choose_device, device_name, join  # torch only where something runs

    ending, attempt = ending or Ending(), attempt or Attempt()
    device = choose_device(topology, need_gpu=need_gpu)
    made_by = provenance(device_name(device))  # now: what runs is the code as it is at the start
    context = partial(
        Context,
        topology=topology,
        device=device,
        data=data,
        workers=workers,
        patience_s=patience_s,
        checkpoint_s=checkpoint_s,
        ending=ending,
    )
    with join(topology, device, patience_s=patience_s) as group:
        for stage in stages:
            with ExitStack() as held:
                with group.failing_together():
                    lease = claim(stage, store, attempt, held) if topology.leads else None
                if group.agree("have" if store.done(stage) else "run") == "have":
                    continue
                held.enter_context(journalled(stage, store, topology, ending, attempt))
                aside = held.enter_context(store.aside(stage)) if topology.leads else None
                listens = partial(listener, stage)
                journal = Journal(store.journal_path(stage.key), listens) if topology.leads else Journal(None)
                folder = Path(group.agree(str(aside)))
                here = context(folder=folder, unfinished=store.unfinished(stage), journal=journal, lease=lease)
                journal.write("start", stage=stage.name, ranks=_ranks(stage, topology), **attempt.facts())
                run_stage(stage, store, group, here, made_by)


def claim(stage: Stage, store: Store, attempt: Attempt, held: ExitStack) -> Lease | None:
    """Keep others from the stage, unless it is done. Raises UserError while another process has it."""
    if store.done(stage):
        return None
    attempt.require_tries_left(stage, store)
    return held.enter_context(store.lock(stage))


def run_stage(stage: Stage, store: Store, group: "Group", context: Context, made_by: Mapping[str, Json]) -> None:
    """Verify the inputs, run, publish from rank 0, and leave together."""
    leads = context.topology.leads
    inputs = {child.key: store.artefact(child) for child in stage.inputs()}
    with group.failing_together():
        if leads:
            for child in stage.inputs():
                store.verify(child)
    payload: dict[str, Json] = {}
    started = time.monotonic()  # a row's cost is what the stage took, not the hashing of what it was given
    if stage.ranks == "all":
        payload = stage.run(inputs, context)
    else:
        with group.failing_together():
            if leads:
                payload = stage.run(inputs, context)
    with group.failing_together():
        if leads:
            seconds, ranks = round(time.monotonic() - started, 1), _ranks(stage, context.topology)
            spent = round(seconds * ranks + payload.pop(EARLIER, 0.0), 1)  # no result: an undisturbed run has none
            made = {**made_by, "ranks": ranks, "seconds": seconds, "device_seconds": spent}
            if context.lease is not None:
                context.lease.require()
            store.publish(stage, context.folder, payload, made)
            context.journal.write("done", stage=stage.name, seconds=seconds)


def _ranks(stage: Stage, topology: Topology) -> int:
    return topology.world if stage.ranks == "all" else 1


def _end(*_: object) -> None:
    """On SIGTERM: leave through every `finally`, so that nothing half-made stays."""
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
