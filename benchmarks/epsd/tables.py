"""EPSD beside all that lacks a part of it.

Lives here: the table `main`, and what the other tables share of it. Must not: recipes, data sets, promised values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.epsd.protocol import Protocol
from benchmarks.suites.assemble import merged
from benchmarks.suites.naming import percent
from harness.benchmark import Entry
from harness.contracts import Model, SelfDistillation
from harness.criteria.random import Random
from harness.stages.prune_channels_early import PruneChannelsEarly
from harness.stages.prune_early import PruneEarly

SPARSITIES = (0.36, 0.59, 0.79, 0.90, 0.95, 0.98)


def main(
    protocol: Protocol,
    name: str,
    network: Model,
    methods: Mapping[str, SelfDistillation],
    sparsities: Sequence[float] = SPARSITIES,
) -> tuple[Entry, ...]:
    """EPSD without pruning, without self-distillation, and with masks that know nothing of it.

    Masks shuffled within layers are tried with the first method alone.
    """
    label, method = next(iter(methods.items()))
    return merged(
        dense(protocol, name, network, methods),
        *(at_sparsity(protocol, name, network, key, m, share) for share in sparsities for key, m in methods.items()),
        *(shuffled(protocol, name, network, label, method, share) for share in sparsities),
    )


def dense(protocol: Protocol, name: str, network: Model, methods: Mapping[str, SelfDistillation]) -> list[Entry]:
    """The whole network on labels alone, and with each method."""
    return [
        protocol.entry(name, protocol.alone(network)),
        *(
            protocol.entry(f"{name} {label}", protocol.taught(network, method), against=(name,))
            for label, method in methods.items()
        ),
    ]


def at_sparsity(
    protocol: Protocol, name: str, network: Model, label: str, method: SelfDistillation, sparsity: float
) -> list[Entry]:
    """EPSD and its parts, for single weights."""
    return in_parts(protocol, name, percent(sparsity), label, method, partial(protocol.pruned, network, sparsity))


def in_parts(
    protocol: Protocol,
    name: str,
    tail: str,
    label: str,
    method: SelfDistillation,
    pruned: Callable[..., PruneEarly | PruneChannelsEarly],
) -> list[Entry]:
    """Early pruning alone; self-distillation after pruning by the labels, after pruning at random; EPSD.

    The second is what the paper calls Simple Combination. Its mask is that of the first, so they differ in the
    training alone, and from EPSD it differs in the mask alone.
    """
    by_labels = pruned()
    early, simple, random = f"{name} ProsPr {tail}", f"{name} simple {label} {tail}", f"{name} random {label} {tail}"
    claims = (simple, random, early, f"{name} {label}", name)
    return [
        protocol.entry(early, protocol.alone(by_labels)),
        protocol.entry(simple, protocol.taught(by_labels, method), against=(early,)),
        protocol.entry(random, protocol.taught(pruned(criterion=Random()), method)),
        protocol.entry(f"{name} EPSD {label} {tail}", protocol.taught(pruned(method=method), method), against=claims),
    ]


def shuffled(
    protocol: Protocol, name: str, network: Model, label: str, method: SelfDistillation, sparsity: float
) -> list[Entry]:
    """EPSD beside masks that keep as many weights in each layer, but others, drawn at random.

    To shuffle EPSD's mask within layers and to draw one with its layer densities are the same, so this is one entry.
    """
    *_, epsd = at_sparsity(protocol, name, network, label, method, sparsity)
    like = protocol.pruned(network, sparsity, method=method)
    other = f"{name} shuffled {label} {percent(sparsity)}"
    mask = replace(protocol.pruned(network, sparsity, criterion=Random()), layers_like=like)
    return [protocol.entry(other, protocol.taught(mask, method)), replace(epsd, against=(other,))]
