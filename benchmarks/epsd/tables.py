"""The tables of EPSD, each a list of entries.

Lives here: one function for each table, and `small_images`, all of them. Must not: data sets, promised values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from benchmarks.epsd.protocol import METHODS, Protocol, authors, recipe
from benchmarks.prune_then_distill import protocol as prune_then_distill
from benchmarks.prune_then_distill.tables import merged
from harness.benchmark import Entry
from harness.contracts import Criterion, Model, SelfDistillation
from harness.criteria.grasp import GraSP
from harness.criteria.magnitude import Magnitude
from harness.criteria.prospr import ProsPr
from harness.criteria.random import Random
from harness.criteria.snip import Snip
from harness.criteria.synflow import SynFlow
from harness.data.augment import Augment
from harness.distillation.kd import KD
from harness.recipe import Recipe
from harness.self_distillation.be_your_own_teacher import BeYourOwnTeacher
from harness.self_distillation.label_smoothing import LabelSmoothing
from harness.self_distillation.teacher_free_kd import TeacherFreeKD
from harness.stages.prepare import Prepare
from harness.stages.prune_early import PruneEarly
from harness.stages.self_distill import born_again

OURS = "one recipe of ours"
SPARSITIES, HIGH = (0.36, 0.59, 0.79, 0.90, 0.95, 0.98), (0.90, 0.95, 0.98)
OTHERS: dict[str, SelfDistillation] = {
    "label smoothing": LabelSmoothing(),
    "Tf-KD": TeacherFreeKD(),
    "be your own teacher": BeYourOwnTeacher(),
}
"""What else a dense network is trained with; the exits of the last are those of a ResNet."""


def main(
    protocol: Protocol,
    name: str,
    network: Model,
    methods: Mapping[str, SelfDistillation],
    sparsities: Sequence[float] = SPARSITIES,
) -> list[Entry]:
    """EPSD beside all that lacks a part of it: no pruning, no self-distillation, a mask that knows nothing of it."""
    return [
        *dense(protocol, name, network, methods),
        *merged(
            *(
                at_sparsity(protocol, name, network, label, method, sparsity)
                for sparsity in sparsities
                for label, method in methods.items()
            )
        ),
    ]


def dense(protocol: Protocol, name: str, network: Model, methods: Mapping[str, SelfDistillation]) -> list[Entry]:
    """The whole network on labels alone, and with each method."""
    return [
        protocol.entry(name, protocol.dense(network)),
        *(
            protocol.entry(f"{name} {label}", protocol.taught(network, method), against=(name,))
            for label, method in methods.items()
        ),
    ]


def at_sparsity(
    protocol: Protocol, name: str, network: Model, label: str, method: SelfDistillation, sparsity: float
) -> list[Entry]:
    """Early pruning alone; self-distillation after pruning by the labels, after pruning at random; EPSD.

    The second is what the paper calls Simple Combination. Its mask is that of the first, so they differ in the
    training alone, and from EPSD it differs in the mask alone.
    """
    by_labels, tail = protocol.pruned(network, sparsity), percent(sparsity)
    by_chance = protocol.pruned(network, sparsity, criterion=Random())
    by_method = protocol.pruned(network, sparsity, method=method)
    early, simple, random = f"{name} ProsPr {tail}", f"{name} simple {label} {tail}", f"{name} random {label} {tail}"
    claims = (simple, random, early, f"{name} {label}", name)
    return [
        protocol.entry(early, protocol.alone(by_labels)),
        protocol.entry(simple, protocol.taught(by_labels, method), against=(early,)),
        protocol.entry(random, protocol.taught(by_chance, method)),
        protocol.entry(f"{name} EPSD {label} {tail}", protocol.taught(by_method, method), against=claims),
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


def ablations(
    protocol: Protocol, name: str, network: Model, label: str, method: SelfDistillation, sparsity: float = 0.95
) -> list[Entry]:
    """EPSD beside what should be worse if its parts matter; and its other settings, each claiming to be better.

    No inner step is SNIP by the loss of self-distillation. Then nothing was seen before, and PS-KD and DLB score by the
    cross-entropy; with new batches PS-KD does so too.
    """
    epsd, mask = f"{name} EPSD {label} {percent(sparsity)}", protocol.pruned(network, sparsity, method=method)

    def scored(criterion: ProsPr) -> PruneEarly:
        return replace(mask, criterion=criterion)

    worse = {
        f"{epsd}, no inner step": scored(replace(protocol.criterion, inner_steps=0)),
        f"{epsd}, first order": scored(replace(protocol.criterion, gradient="first_order")),
        f"{epsd}, weights drawn again": replace(mask, start="redrawn"),
    }
    other = {
        f"{epsd}, 1 inner step": scored(replace(protocol.criterion, inner_steps=1)),
        f"{epsd}, 5 inner steps": scored(replace(protocol.criterion, inner_steps=5)),
        f"{epsd}, new batches": scored(replace(protocol.criterion, inner_batch="new")),
        f"{epsd}, from the weights looked ahead to": replace(mask, start="looked_ahead"),
    }
    return [
        *merged(
            main(protocol, name, network, {label: method}, [sparsity]),
            shuffled(protocol, name, network, label, method, sparsity),
            [protocol.entry(epsd, protocol.taught(mask, method), against=tuple(worse))],
            [protocol.entry(key, protocol.taught(pruned, method)) for key, pruned in worse.items()],
            [protocol.entry(key, protocol.taught(pruned, method), against=(epsd,)) for key, pruned in other.items()],
        ),
        *structured(protocol, name, network, label, method),
    ]


def structured(
    protocol: Protocol, name: str, network: Model, label: str, method: SelfDistillation, reduction: float = 0.5
) -> list[Entry]:
    """EPSD that takes whole channels, beside its own simple combination and channels at random."""
    tail = f"{label} less {percent(reduction)} MACs"
    simple, random = f"{name} simple {tail}", f"{name} random {tail}"
    return [
        protocol.entry(simple, protocol.taught(protocol.thinned(network, reduction), method)),
        protocol.entry(random, protocol.taught(protocol.thinned(network, reduction, criterion=Random()), method)),
        protocol.entry(
            f"{name} EPSD {tail}",
            protocol.taught(protocol.thinned(network, reduction, method=method), method),
            against=(simple, random),
        ),
    ]


def cost(
    protocol: Protocol, name: str, network: Model, retraining: Recipe, label: str, method: SelfDistillation
) -> list[Entry]:
    """Accuracy against all training it took: seven rounds of pruning, the student they teach, and EPSD, at 79 %.

    The student is the same network, dense; all of them see the same images. A row tells image passes and device
    seconds of its network and all that came before it.
    """
    rounds = prune_then_distill.Protocol(
        data=protocol.data, size=protocol.size, teacher=protocol.recipe, round=retraining, seed=protocol.seed
    )
    student = prune_then_distill.Taught(name=name, network=network, alone=protocol.recipe, taught=protocol.recipe)
    _, simple, _, epsd = at_sparsity(protocol, name, network, label, method, 0.79)
    pruned, teacher = f"{name} pruned 79 %", rounds.rounds(network, 7)[-1]
    taught = f"{name} from {pruned}"
    return [
        protocol.entry(name, protocol.dense(network)),
        protocol.entry(pruned, teacher, against=(name,)),
        protocol.entry(taught, rounds.taught(student, teacher), against=(name,)),
        replace(simple, against=(name,)),
        replace(epsd, against=(pruned, taught, simple.name, name)),
    ]


def self_distillation(
    protocol: Protocol,
    name: str,
    network: Model,
    methods: Mapping[str, SelfDistillation],
    recipes: Mapping[str, Recipe],
) -> list[Entry]:
    """Dense networks by every method on the common recipe; on their authors' own, where there is one, beside labels.

    Born again: three generations by the sum of labels and the predictions of the one before, as their authors have it.
    """
    entries = dense(protocol, name, network, {**OTHERS, **methods})
    generations = born_again(
        network,
        generations=3,
        method=KD(temperature=1, kd_weight=0.5),
        data=protocol.data,
        recipe=protocol.recipe,
        seed=protocol.seed,
    )
    entries.append(protocol.entry(f"{name} born again", generations[-1], against=(name,)))
    for label, own in recipes.items():
        alone, its = f"{name} on the recipe of {label}", replace(protocol, recipe=own)
        taught = its.taught(network, methods[label])
        entries += [
            protocol.entry(alone, its.dense(network)),
            protocol.entry(f"{name} {label} on its own recipe", taught, against=(alone,)),
        ]
    return entries


def small_images(
    seed: int, shorten: Callable[[Recipe], Recipe], *, data: Prepare, size: int, networks: Mapping[str, Model]
) -> dict[str, list[Entry]]:
    """Every table by the name of its suite; the last three are of the first network, which is a ResNet."""
    whole = recipe(Augment(crop="pad", size=size))
    protocol = Protocol(data=data, size=size, recipe=shorten(whole), seed=seed)
    name, network = next(iter(networks.items()))
    own = {label: shorten(its) for label, its in authors(whole).items()}
    retraining = shorten(replace(whole, epochs=130, weight_decay=2e-4, milestones=(39, 84)))
    return {
        "epsd": [entry for key, model in networks.items() for entry in main(protocol, key, model, METHODS)],
        "epsd-init": [entry for key, model in networks.items() for entry in at_initialisation(protocol, key, model)],
        "epsd-ablation": list(
            merged(*(ablations(protocol, name, network, label, method) for label, method in METHODS.items()))
        ),
        "self-distillation": self_distillation(protocol, name, network, METHODS, own),
        "cost": cost(protocol, name, network, retraining, "CS-KD", METHODS["CS-KD"]),
    }


def percent(share: float) -> str:
    """`79 %` of 0.79."""
    return f"{100 * share:.0f} %"
