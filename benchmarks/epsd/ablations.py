"""EPSD without its parts, in its other settings, and on whole channels.

Lives here: the tables `ablations` and `structured`. Must not: recipes, data sets, promised values.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from benchmarks.epsd.protocol import Protocol
from benchmarks.epsd.tables import dense, in_parts, main
from benchmarks.suites.assemble import merged
from benchmarks.suites.naming import percent
from harness.benchmark import Entry
from harness.contracts import Model, SelfDistillation
from harness.criteria.prospr import ProsPr
from harness.self_distillation.ps_kd import PSKD
from harness.stages.prune_early import PruneEarly


def ablations(
    protocol: Protocol, name: str, network: Model, label: str, method: SelfDistillation, sparsity: float = 0.95
) -> tuple[Entry, ...]:
    """EPSD beside what should be worse if its parts matter; and its other settings, each claiming to be better."""
    epsd, mask = f"{name} EPSD {label} {percent(sparsity)}", protocol.pruned(network, sparsity, method=method)
    worse = {f"{epsd}, {change}": pruned for change, pruned in without_parts(mask, protocol.criterion).items()}
    other = {f"{epsd}, {change}": pruned for change, pruned in other_settings(mask, protocol.criterion).items()}
    return merged(
        main(protocol, name, network, {label: method}, [sparsity]),
        [protocol.entry(epsd, protocol.taught(mask, method), against=tuple(worse))],
        [protocol.entry(key, protocol.taught(pruned, method)) for key, pruned in worse.items()],
        [protocol.entry(key, protocol.taught(pruned, method), against=(epsd,)) for key, pruned in other.items()],
        structured(protocol, name, network, label, method),
    )


def without_parts(mask: PruneEarly, criterion: ProsPr) -> Mapping[str, PruneEarly]:
    """EPSD's mask with one thing missing.

    No inner step is SNIP by the loss of self-distillation. Then nothing was seen before, and PS-KD and DLB score by the
    cross-entropy.
    """
    return {
        "no inner step": replace(mask, criterion=replace(criterion, inner_steps=0)),
        "first order": replace(mask, criterion=replace(criterion, gradient="first_order")),
        "weights drawn again": replace(mask, start="redrawn"),
    }


def other_settings(mask: PruneEarly, criterion: ProsPr) -> Mapping[str, PruneEarly]:
    """EPSD's mask with one field set otherwise, of those that the paper does not establish.

    With new batches PS-KD has seen no image before, and scores by the cross-entropy.
    """
    found = {
        "1 inner step": replace(mask, criterion=replace(criterion, inner_steps=1)),
        "5 inner steps": replace(mask, criterion=replace(criterion, inner_steps=5)),
        "new batches": replace(mask, criterion=replace(criterion, inner_batch="new")),
        "from the weights looked ahead to": replace(mask, start="looked_ahead"),
    }
    if isinstance(mask.method, PSKD):
        found["alpha 0.4 at the score"] = replace(mask, alpha_at_score=0.4)
    return found


def structured(
    protocol: Protocol, name: str, network: Model, label: str, method: SelfDistillation, reduction: float = 0.5
) -> tuple[Entry, ...]:
    """EPSD that takes whole channels beside its own parts, and beside the whole network."""
    thinned = partial(protocol.thinned, network, reduction)
    return merged(
        dense(protocol, name, network, {label: method}),
        in_parts(protocol, name, f"less {percent(reduction)} MACs", label, method, thinned),
    )
