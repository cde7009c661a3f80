"""Runs a plan in this very process, one rank: for debugging.

Lives here: the executor. Must not: processes.
"""

from harness.placement import Placement
from harness.plan import Step
from harness.progress import Screen
from harness.run import run_stages
from harness.store import Store
from harness.topology import Topology


def run(steps: list[Step], placement: Placement) -> None:
    """Run what is missing; the first failure is raised."""
    screen = Screen()
    labels = {step.stage.key: step.title for step in steps}
    try:
        run_stages(
            [step.stage for step in steps if not step.done],
            Store(placement.store),
            Topology(),
            data=placement.data,
            workers=placement.workers,
            patience_s=placement.patience_s,
            checkpoint_s=placement.checkpoint_s,
            listener=lambda stage, event: screen.show(labels[stage.key], event),
        )
    finally:
        screen.close()
