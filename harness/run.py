"""`python -m harness.run KEY ...`: run stages on the ranks of this launch. What every job executes.

Lives here: skip, verify, run, publish. Must not: what a stage does, or where it runs.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.context import Context
from harness.errors import StageError, UserError, exit_code
from harness.journal import Event, Journal
from harness.placement import CHECKPOINT_S, PATIENCE_S
from harness.progress import Screen
from harness.provenance import EARLIER, provenance
from harness.spec import Json, Stage
from harness.store import Store
from harness.topology import Topology, detect

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
    parser.add_argument("--checkpoint-minutes", type=float, default=CHECKPOINT_S / 60, help="between two checkpoints")
    parser.add_argument("--need-gpu", action="store_true", help="refuse to run on a CPU")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _end)
    ending = threading.Event()
    signal.signal(signal.SIGUSR2, lambda *_: ending.set())  # sent ahead of a time limit
    store, screen = Store(options.store), Screen()

    def work() -> None:
        run_stages(
            [store.read_spec(key) for key in options.keys],
            store,
            detect(),
            data=options.data,
            workers=options.workers,
            patience_s=options.patience,
            checkpoint_s=60 * options.checkpoint_minutes,
            ending=ending,
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
    checkpoint_s: float = CHECKPOINT_S,
    ending: threading.Event | None = None,
    need_gpu: bool = False,
) -> None:
    """Run the stages that are not done, in order, in one process group. Rank 0 tells `listener`."""
    from harness.engine.group import choose_device, device_name, join  # torch only where something runs

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
        ending=ending or threading.Event(),
    )
    with join(topology, device, patience_s=patience_s) as group:
        for stage in stages:
            with ExitStack() as held:
                if not claim(stage, store, group, topology, held):
                    continue
                held.enter_context(_journalled(stage, store, topology))
                aside = held.enter_context(store.aside(stage)) if topology.leads else None
                listens = partial(listener, stage)
                journal = Journal(store.journal_path(stage.key), listens) if topology.leads else Journal(None)
                folder = Path(group.agree(str(aside)))
                here = context(folder=folder, unfinished=store.unfinished(stage), journal=journal)
                run_stage(stage, store, group, here, made_by)


def claim(stage: Stage, store: Store, group: "Group", topology: Topology, held: ExitStack) -> bool:
    """Whether the stage is to be run, on all ranks alike. Rank 0 then holds its lock; it raises if another has it."""
    with group.failing_together():
        if topology.leads and not store.done(stage):
            held.enter_context(store.lock(stage))
    return group.agree("have" if store.done(stage) else "run") == "run"


def run_stage(stage: Stage, store: Store, group: "Group", context: Context, made_by: Mapping[str, Json]) -> None:
    """Verify the inputs, run, publish from rank 0, and leave together."""
    leads = context.topology.leads
    ranks = context.topology.world if stage.ranks == "all" else 1
    context.journal.write("start", stage=stage.name, ranks=ranks)
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
            seconds = round(time.monotonic() - started, 1)
            spent = round(seconds * ranks + payload.pop(EARLIER, 0.0), 1)  # no result: an undisturbed run has none
            made = {**made_by, "ranks": ranks, "seconds": seconds, "device_seconds": spent}
            store.publish(stage, context.folder, payload, made)
            context.journal.write("done", stage=stage.name, seconds=seconds)


@contextmanager
def _journalled(stage: Stage, store: Store, topology: Topology) -> Iterator[None]:
    """Whichever rank meets a failure writes down its reason."""
    try:
        yield
    except BaseException as error:
        told = _as_stage_error(error)
        kind = type(told).__name__
        reason = str(told) if isinstance(told, (UserError, StageError)) else f"{kind}: {told}"
        Journal(store.journal_path(stage.key)).write("failed", kind=kind, rank=topology.rank, reason=reason)
        if told is error:
            raise
        raise told from error


def _as_stage_error(error: BaseException) -> BaseException:
    """What the machine does to a stage, a full disk or a rank that is gone, is the stage's failure and no defect."""
    from harness.engine.group import is_lost_rank

    if isinstance(error, OSError):
        return StageError(f"{type(error).__name__}: {error}")
    if is_lost_rank(error):
        detail = str(error).splitlines()[0].rpartition("] ")[2]
        return StageError(f"another rank has died, or kept this one waiting too long (see --patience): {detail}")
    return error


def _end(*_: object) -> None:
    """On SIGTERM: leave through every `finally`, so that nothing half-made stays."""
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
