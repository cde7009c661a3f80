"""Criteria that prune before training, beside each other.

Lives here: the table `at_initialisation`. Must not: self-distillation, recipes, data sets.
"""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.epsd.protocol import Protocol
from benchmarks.suites.naming import percent
from harness.benchmark import Entry
from harness.contracts import Criterion, Model
from harness.criteria.grasp import GraSP
from harness.criteria.magnitude import Magnitude
from harness.criteria.random import Random
from harness.criteria.snip import Snip
from harness.criteria.synflow import SynFlow
from harness.stages.prune_early import PruneEarly

HIGH = (0.90, 0.95, 0.98)


def at_initialisation(protocol: Protocol, name: str, network: Model, sparsities: Sequence[float] = HIGH) -> list[Entry]:
    """Criteria at initialisation, all trained on labels alone."""
    return [entry for sparsity in sparsities for entry in criteria_at(protocol, name, network, sparsity)]


def criteria_at(protocol: Protocol, name: str, network: Model, sparsity: float) -> list[Entry]:
    """Each criterion, claiming to beat both kinds of random mask.

    SNIP in many iterations is that of FORCE (de Jorge et al., ICLR 2021), whose authors take 60; those of SynFlow
    take 100.
    """

    def mask(criterion: Criterion) -> PruneEarly:
        return protocol.pruned(network, sparsity, criterion=criterion)

    chance = {"random": mask(Random()), "random ERK": replace(mask(Random()), scope="erk")}
    chosen = {
        "magnitude": mask(Magnitude()),
        "SNIP": mask(Snip()),
        "SNIP in 60 iterations": replace(mask(Snip()), iterations=60),
        "GraSP": mask(GraSP()),
        "SynFlow": replace(mask(SynFlow()), iterations=100),
        "ProsPr": mask(protocol.criterion),
        "ProsPr first order": mask(replace(protocol.criterion, gradient="first_order")),
    }
    names = {label: f"{name} {label} {percent(sparsity)}" for label in chance | chosen}
    claims = tuple(names[label] for label in chance)
    return [
        *(protocol.entry(names[label], protocol.alone(stage)) for label, stage in chance.items()),
        *(protocol.entry(names[label], protocol.alone(stage), against=claims) for label, stage in chosen.items()),
    ]
