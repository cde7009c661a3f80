"""The tables of prune-then-distill, each a list of entries.

Lives here: one function for each table. Must not: recipes, data sets, promised values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.prune_then_distill.protocol import Protocol, Taught
from benchmarks.suites.naming import percent
from harness.benchmark import Entry
from harness.contracts import Criterion, Distillation, FeatureDistillation, Model
from harness.criteria.confidence import Confidence
from harness.criteria.magnitude import Magnitude
from harness.criteria.random import Random
from harness.criteria.snip import Snip
from harness.criteria.synflow import SynFlow
from harness.criteria.taylor import Taylor
from harness.distillation.kd import KD
from harness.recipe import Recipe
from harness.schedule import learning_rate
from harness.spec import Stage
from harness.stages.prune import shuffled, sparsity_after
from harness.stages.prune_channels import PruneChannels
from harness.stages.prune_early import PruneEarly
from harness.stages.prune_gradually import PruneGradually
from harness.stages.student import Student
from harness.stages.train import Train


def teachers(protocol: Protocol, name: str, network: Model, rounds: Iterable[int]) -> dict[str, Stage]:
    """The dense teacher and those after so many rounds, by name."""
    chain = protocol.rounds(network, max(rounds))
    found: dict[str, Stage] = {name: protocol.dense(network)}
    return found | {f"{name} pruned {percent(sparsity_after(count))}": chain[count - 1] for count in rounds}


def teacher_entries(protocol: Protocol, found: Mapping[str, Stage]) -> list[Entry]:
    """Each teacher; all but the first are set beside it."""
    (dense_name, dense), *others = found.items()
    return [
        protocol.entry(dense_name, dense),
        *(protocol.entry(name, stage, dense=dense, against=(dense_name,)) for name, stage in others),
    ]


def fixed_students(
    protocol: Protocol, name: str, network: Model, students: Sequence[Taught], rounds: Sequence[int]
) -> list[Entry]:
    """Students of a given architecture, alone and from teachers that are dense or pruned."""
    found = teachers(protocol, name, network, rounds)
    entries = teacher_entries(protocol, found)
    for student in students:
        entries += students_of(protocol, student, found)
    return entries


def formed_students(
    protocol: Protocol, name: str, network: Model, recipes: Taught, rounds: Sequence[int]
) -> list[Entry]:
    """Students whose widths are read off each pruned teacher: alone, from the dense teacher, from that pruned one."""
    found = teachers(protocol, name, network, rounds)
    entries = teacher_entries(protocol, found)
    (dense_name, dense), *pruned = found.items()
    for (pruned_name, teacher), count in zip(pruned, rounds, strict=True):
        student = replace(recipes, name=f"{name}-st{percent(sparsity_after(count))[:2]}", network=Student(like=teacher))
        entries += students_of(protocol, student, {dense_name: dense, pruned_name: teacher})
    return entries


def students_of(protocol: Protocol, student: Taught, found: Mapping[str, Stage]) -> list[Entry]:
    """The student alone and from every teacher; each of the pruned ones claims to teach better than the dense one."""
    by_labels = protocol.alone(student)
    names = {stage.key: name for name, stage in found.items()}
    alone = names.get(by_labels.key, f"{student.name} alone")  # a student may be what the dense teacher is
    (dense_name, dense), *others = found.items()
    from_dense = f"{student.name} from {dense_name}"
    return [
        protocol.entry(alone, by_labels),
        protocol.entry(from_dense, protocol.taught(student, dense), against=(alone,)),
        *(
            protocol.entry(f"{student.name} from {name}", protocol.taught(student, stage), against=(from_dense, alone))
            for name, stage in others
        ),
    ]


def controls(protocol: Protocol, name: str, network: Model, student: Taught, rounds: int) -> list[Entry]:
    """What else might explain that a pruned teacher teaches better: the claim is that it beats all of them.

    The dense teacher trained as long, made as soft in two ways, stopped after half of its schedule; masks of other
    weights at the same layer densities, of random weights, of weights chosen for unsure predictions.
    """
    found = teachers(protocol, name, network, [rounds])
    (_, dense), (pruned_name, pruned) = found.items()
    early = replace(protocol.teacher, stop_epoch=max(1, protocol.teacher.epochs // 2), keep="last")
    others: dict[str, Stage] = {
        f"{name} trained as long": protocol.retrained(network, rounds),
        f"{name} smoothed": protocol.softened(dense, pruned, "uniform"),
        f"{name} tempered": protocol.softened(dense, pruned, "temperature"),
        f"{name} stopped early": replace(protocol.dense(network), recipe=early),
        f"{pruned_name}, shuffled in layers": shuffled(protocol.rounds(network, rounds), Random())[-1],
        f"{pruned_name} at random": protocol.rounds(network, rounds, Random())[-1],
        f"{pruned_name} by confidence": protocol.rounds(network, rounds, Confidence())[-1],
    }
    alone, from_dense, from_pruned = students_of(protocol, student, found)
    claims = (*from_pruned.against, *(f"{student.name} from {other}" for other in others))
    return [
        *teacher_entries(protocol, found | others),
        alone,
        from_dense,
        replace(from_pruned, against=claims),
        *(protocol.entry(f"{student.name} from {key}", protocol.taught(student, t)) for key, t in others.items()),
    ]


def settings(
    protocol: Protocol, name: str, network: Model, student: Taught, rounds: int, methods: Sequence[KD]
) -> list[Entry]:
    """The comparison once more at other temperatures and weights: the published setting is one point."""
    entries = []
    for method in methods:
        at = replace(student, name=f"{student.name} (T {method.temperature:g}, weight {method.kd_weight:g})")
        found = teachers(protocol, name, network, [rounds])
        _, *distilled = students_of(replace(protocol, method=method), at, found)
        entries += [
            replace(entry, against=entry.against[:1] if number else ()) for number, entry in enumerate(distilled)
        ]
    return entries


def patient(protocol: Protocol, name: str, network: Model, student: Taught, long: Taught, rounds: int) -> list[Entry]:
    """A long schedule on the crops the teacher sees, without labels: beside as long alone, and beside the usual one."""
    found = teachers(protocol, name, network, [rounds])
    entries = students_of(replace(protocol, method=KD(temperature=1, kd_weight=1)), long, found)
    usual = {name: f"{student.name} from {name}" for name in found}
    return [
        *students_of(protocol, student, found),
        entries[0],
        *(
            replace(entry, against=(*entry.against, usual[teacher]))
            for entry, teacher in zip(entries[1:], found, strict=True)
        ),
    ]


def ways_to_prune(protocol: Protocol, name: str, network: Model, rounds: int) -> list[Entry]:
    """The teacher of so many rounds beside others of the same sparsity; 2:4 has its own."""
    dense, (*_, last) = protocol.dense(network), protocol.rounds(network, rounds)
    at_once = replace(last, network=dense)
    at_start = partial(pruned_at_initialisation, protocol, network, sparsity=last.sparsity, recipe=protocol.teacher)
    slow = replace(protocol.round, lr=learning_rate(protocol.teacher, protocol.teacher.epochs - 1), milestones=())
    late = max(1, protocol.teacher.epochs // 20)
    rewound = replace(protocol.teacher, keep="last", first_epoch=late)
    early = replace(dense, recipe=replace(protocol.teacher, keep="last", stop_epoch=late))
    tail = percent(last.sparsity)
    gradually = PruneGradually(
        network=dense, criterion=Magnitude(), sparsity=last.sparsity, data=protocol.data, recipe=protocol.round,
        seed=protocol.seed,
    )  # fmt: skip
    found: dict[str, Stage] = {
        f"{name} pruned {tail}": last,
        f"{name} {tail} fine-tuned": protocol.rounds(network, rounds, recipe=slow)[-1],
        f"{name} {tail} weights rewound": protocol.rounds(network, rounds, recipe=rewound, rewind_to=early)[-1],
        f"{name} {tail} gradually": gradually,
        f"{name} {tail} at once": at_once,
        f"{name} {tail} at once by layer": replace(at_once, scope="layer"),
        f"{name} {tail} at once uniform": replace(at_once, scope="uniform"),
        f"{name} {tail} at once ERK": replace(at_once, scope="erk"),
        f"{name} {tail} at once by Taylor": replace(at_once, criterion=Taylor()),
        f"{name} {tail} at once at random": replace(at_once, criterion=Random()),
        f"{name} 2:4 at once": replace(at_once, scope="2:4", sparsity=0.5),
        f"{name} {tail} at the start by SNIP": at_start(criterion=Snip()),
        f"{name} {tail} at the start by SynFlow": at_start(criterion=SynFlow(), iterations=100),
    }
    return teacher_entries(protocol, {name: dense} | found)


def synflow(protocol: Protocol, name: str, network: Model, student: Taught, rounds: Sequence[int]) -> list[Entry]:
    """Teachers pruned at initialisation by SynFlow in 100 iterations, as its authors do, then trained as a round is."""
    dense = protocol.dense(network)
    found: dict[str, Stage] = {name: dense}
    for count in rounds:
        found[f"{name} SynFlow {percent(sparsity_after(count))}"] = pruned_at_initialisation(
            protocol,
            network,
            criterion=SynFlow(),
            sparsity=sparsity_after(count),
            recipe=protocol.round,
            iterations=100,
        )
    return [*teacher_entries(protocol, found), *students_of(protocol, student, found)]


def pruned_at_initialisation(
    protocol: Protocol,
    network: Model,
    *,
    criterion: Criterion,
    sparsity: float,
    recipe: Recipe,
    iterations: int = 1,
) -> Train:
    """A network that loses weights before it is trained, scored on the batches of its training."""
    pruned = PruneEarly(
        network=network,
        criterion=criterion,
        sparsity=sparsity,
        data=protocol.data,
        augment=recipe.augment,
        batch=recipe.batch_per_gpu,
        iterations=iterations,
        seed=protocol.seed,
    )
    return Train(network=pruned, data=protocol.data, recipe=recipe, seed=protocol.seed)


def channels(
    protocol: Protocol, name: str, network: Model, student: Taught, reductions: Sequence[float]
) -> list[Entry]:
    """Teachers that lost whole channels until a share of the MACs was gone, then trained as a round is."""
    dense = protocol.dense(network)
    found: dict[str, Stage] = {name: dense}
    for reduction in reductions:
        found[f"{name} less {percent(reduction)} MACs"] = PruneChannels(
            network=dense,
            reduction=reduction,
            measure="macs",
            scope="global",
            data=protocol.data,
            recipe=protocol.round,
            seed=protocol.seed,
        )
    return [*teacher_entries(protocol, found), *students_of(protocol, student, found)]


def other_methods(
    protocol: Protocol,
    name: str,
    network: Model,
    student: Taught,
    rounds: int,
    methods: Mapping[str, Distillation | FeatureDistillation],
) -> list[Entry]:
    """Other distillation methods from the dense and from the pruned teacher."""
    (dense_name, dense), (pruned_name, pruned) = teachers(protocol, name, network, [rounds]).items()
    entries = []
    for label, method in methods.items():
        from_dense = f"{student.name} from {dense_name} by {label}"
        entries += [
            protocol.entry(from_dense, protocol.taught(student, dense, method)),
            protocol.entry(
                f"{student.name} from {pruned_name} by {label}",
                protocol.taught(student, pruned, method),
                against=(from_dense,),
            ),
        ]
    return entries
