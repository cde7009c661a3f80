"""All tables of EPSD for small images: what CIFAR-10 and CIFAR-100 share.

Lives here: `small_images`. Must not: tables, networks, data sets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from benchmarks.epsd.ablations import ablations
from benchmarks.epsd.at_initialisation import at_initialisation
from benchmarks.epsd.cost import cost
from benchmarks.epsd.protocol import METHODS, Protocol, authors, recipe
from benchmarks.epsd.self_distillation import self_distillation
from benchmarks.epsd.tables import main
from benchmarks.suites.assemble import merged
from harness.benchmark import Entry
from harness.contracts import Model
from harness.data.augment import Augment
from harness.recipe import Recipe
from harness.stages.prepare import Prepare


def small_images(
    seed: int, shorten: Callable[[Recipe], Recipe], *, data: Prepare, size: int, networks: Mapping[str, Model]
) -> dict[str, Sequence[Entry]]:
    """Every table by the name of its suite; the last three are of the first network, which is a ResNet."""
    whole = recipe(Augment(crop="pad", size=size))
    protocol = Protocol(data=data, size=size, recipe=shorten(whole), seed=seed)
    name, network = next(iter(networks.items()))
    own = {label: shorten(its) for label, its in authors(whole).items()}
    retraining = shorten(replace(whole, epochs=130, weight_decay=2e-4, milestones=(39, 84)))
    return {
        "epsd": merged(*(main(protocol, key, model, METHODS) for key, model in networks.items())),
        "epsd-init": merged(*(at_initialisation(protocol, key, model) for key, model in networks.items())),
        "epsd-ablation": merged(
            *(ablations(protocol, name, network, label, method) for label, method in METHODS.items())
        ),
        "self-distillation": self_distillation(protocol, name, network, METHODS, own),
        "cost": cost(protocol, name, network, retraining, "CS-KD", METHODS["CS-KD"]),
    }
