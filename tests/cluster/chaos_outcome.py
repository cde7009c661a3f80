"""What came of a launch under chaos: whether it ended as without faults, and what the faults cost.

Lives here: the verdict, and the figures of one seed and of many. Must not: faults, launching.
"""

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from harness.history import PROGRESS
from tests.cluster.project import Project

HALF_AN_HOUR = 1800.0


@dataclass(frozen=True)
class Science:
    """What no fault may change."""

    rows: dict[str, dict[str, Any]]
    artefacts: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, project: Project) -> Self:
        """As the project's store and results have it now."""
        return cls(project.rows(), project.artefacts())


def verdict(project: Project, undisturbed: Science) -> list[str]:
    """Everything that is not as it would be without faults; nothing, if all is well."""
    found, made = [], Science.of(project)
    if made.rows != undisturbed.rows:
        found.append("the rows differ in their science, or some are missing")
    ours, theirs = made.artefacts, undisturbed.artefacts
    found += [f"no artefact {key[:12]}" for key in theirs.keys() - ours.keys()]
    found += [f"artefact {key[:12]} differs" for key in theirs.keys() & ours.keys() if ours[key] != theirs[key]]
    for stage in project.stages(ours):
        project.store.verify(stage)
    done = project.events("done")
    found += [f"{project.title(key)} was done {len(events)} times" for key, events in done.items() if len(events) != 1]
    return found


@dataclass(frozen=True)
class Hit:
    """A fault that met a victim."""

    kind: str
    key: str
    """Of the stage."""
    time: float
    """Unix time, by the clock of this host."""
    told: int
    """Events in the stage's journal before it."""


@dataclass(kw_only=True)
class Outcome:
    """Of one seed, or of several together."""

    complaints: list[str] = field(default_factory=list)
    """The verdict."""
    kinds: Counter[str] = field(default_factory=Counter)
    """How many faults of each met a victim."""
    attempts: int = 0
    requeues: int = 0
    useful: int = 0
    made: int = 0
    """Updates that count, and all, as told: what an attempt did between its last word and a kill is not among them."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each fault that ended an attempt to the first step of the next one."""

    def __str__(self) -> str:
        again = f"{statistics.median(self.recoveries):.0f} s" if self.recoveries else "nothing"
        return (
            f"{self.kinds.total()} faults, {self.attempts} attempts, {self.requeues} requeues,"
            f" {again} from a fault to the next attempt's first step (median),"
            f" goodput as told {self.useful / max(self.made, 1):.1%} of {self.made:,} updates"
        )


def measure(project: Project, hits: Iterable[Hit], complaints: list[str]) -> Outcome:
    """What the journals tell of a launch."""
    hits = list(hits)
    histories = [project.history(key) for key in project.planned()]
    told = project.journals()
    updates = [history.goodput for history in histories if history.goodput is not None]
    recoveries = [seconds for hit in hits if (seconds := recovery(hit, told.get(hit.key, []))) is not None]
    return Outcome(
        complaints=complaints,
        kinds=Counter(hit.kind for hit in hits),
        attempts=sum(history.attempts for history in histories),
        requeues=sum(history.requeues for history in histories),
        useful=sum(useful for useful, _ in updates),
        made=sum(made for _, made in updates),
        recoveries=recoveries,
    )


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """The sums."""
    whole = Outcome()
    for one in outcomes:
        whole.complaints += one.complaints
        whole.kinds += one.kinds
        whole.recoveries += one.recoveries
        whole.attempts += one.attempts
        whole.requeues += one.requeues
        whole.useful += one.useful
        whole.made += one.made
    return whole


def recovery(hit: Hit, events: list[dict[str, Any]]) -> float | None:
    """Seconds to the first progress after the next start; None if no attempt followed, or its clock was wrong."""
    started = False
    for event in events[hit.told :]:
        if started and event["event"] in PROGRESS:
            seconds = float(event["time"]) - hit.time
            return seconds if abs(seconds) < HALF_AN_HOUR else None
        started = started or event["event"] == "start"
    return None
