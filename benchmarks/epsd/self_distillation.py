"""Self-distillation of whole networks, nothing pruned.

Lives here: the table `self_distillation`. Must not: recipes, data sets, promised values.
"""

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.epsd.protocol import Protocol
from benchmarks.epsd.tables import dense
from benchmarks.suites.assemble import merged
from harness.benchmark import Entry
from harness.contracts import Model, SelfDistillation
from harness.distillation.kd import KD
from harness.recipe import Recipe
from harness.self_distillation.be_your_own_teacher import BeYourOwnTeacher
from harness.self_distillation.label_smoothing import LabelSmoothing
from harness.self_distillation.teacher_free_kd import TeacherFreeKD
from harness.stages.self_distill import born_again

OTHERS: dict[str, SelfDistillation] = {
    "label smoothing": LabelSmoothing(),
    "Tf-KD": TeacherFreeKD(),
    "be your own teacher": BeYourOwnTeacher(),
}
"""What else a dense network is trained with; the exits of the last are those of a ResNet."""


def self_distillation(
    protocol: Protocol,
    name: str,
    network: Model,
    methods: Mapping[str, SelfDistillation],
    recipes: Mapping[str, Recipe],
) -> tuple[Entry, ...]:
    """Dense networks by every method on the common recipe; on their authors' own, where there is one, beside labels.

    Methods that give each image a mate, CS-KD and DLB, send twice as many images through the network as labels alone
    in as many epochs: they have to beat labels in twice as many, too.
    """
    return merged(
        dense(protocol, name, network, {**OTHERS, **methods}),
        twice_as_long(protocol, name, network, methods),
        [reborn(protocol, name, network)],
        *(on_its_own_recipe(protocol, name, network, key, methods[key], own) for key, own in recipes.items()),
    )


def twice_as_long(
    protocol: Protocol, name: str, network: Model, methods: Mapping[str, SelfDistillation]
) -> list[Entry]:
    """Labels alone in twice the epochs, and the methods that see twice the images."""
    recipe = protocol.recipe
    double = replace(recipe, epochs=2 * recipe.epochs, milestones=tuple(2 * epoch for epoch in recipe.milestones))
    long = f"{name} labels, twice as long"
    return [
        protocol.entry(long, replace(protocol, recipe=double).alone(network), against=(name,)),
        *(
            protocol.entry(f"{name} {label}", protocol.taught(network, method), against=(long,))
            for label, method in methods.items()
            if method.mates != "none"
        ),
    ]


def reborn(protocol: Protocol, name: str, network: Model) -> Entry:
    """Born again: three generations by the sum of labels and the predictions of the one before, as its authors do."""
    generations = born_again(
        network,
        generations=3,
        method=KD(temperature=1, kd_weight=0.5),
        data=protocol.data,
        recipe=protocol.recipe,
        seed=protocol.seed,
    )
    return protocol.entry(f"{name} born again", generations[-1], against=(name,))


def on_its_own_recipe(
    protocol: Protocol, name: str, network: Model, label: str, method: SelfDistillation, recipe: Recipe
) -> list[Entry]:
    """A method as its authors train, and labels alone as they train."""
    alone, its = f"{name} on the recipe of {label}", replace(protocol, recipe=recipe)
    return [
        protocol.entry(alone, its.alone(network)),
        protocol.entry(f"{name} {label} on its own recipe", its.taught(network, method), against=(alone,)),
    ]
