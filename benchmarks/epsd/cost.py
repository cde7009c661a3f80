"""What pruning before training saves beside pruning after it.

Lives here: the table `cost`. Must not: recipes, data sets, promised values.
"""

from dataclasses import replace

from benchmarks.epsd.protocol import Protocol
from benchmarks.epsd.tables import SPARSITIES, at_sparsity
from benchmarks.prune_then_distill import protocol as prune_then_distill
from benchmarks.suites.naming import percent
from harness.benchmark import Entry
from harness.contracts import Model, SelfDistillation
from harness.recipe import Recipe
from harness.stages.student import Student

ROUNDS = (2, 4, 7, 10, 13, 17)
"""Of LR rewinding: 36, 59, 79, 89, 95 and 98 % sparse, the nearest to each of `SPARSITIES`."""


def cost(
    protocol: Protocol, name: str, network: Model, retraining: Recipe, label: str, method: SelfDistillation
) -> list[Entry]:
    """Accuracy against all training it took: EPSD beside prune-then-distill at six sparsities, and the dense network.

    Prune-then-distill is the network pruned in rounds of `retraining`, and the student formed from it, with about as
    many weights as it keeps, that it teaches. All see the same images. A row tells image passes and device seconds of
    its network and all that came before it.
    """
    rounds = prune_then_distill.Protocol(
        data=protocol.data,
        size=protocol.size,
        resize_ratio=protocol.resize_ratio,
        teacher=protocol.recipe,
        round=retraining,
        seed=protocol.seed,
    )
    chain = rounds.rounds(network, max(ROUNDS))
    entries = [protocol.entry(name, protocol.alone(network))]
    for count, sparsity in zip(ROUNDS, SPARSITIES, strict=True):
        teacher = chain[count - 1]
        tail = percent(teacher.sparsity)
        student = prune_then_distill.Taught(
            name=f"{name}-st{tail[:2]}", network=Student(like=teacher), alone=protocol.recipe, taught=protocol.recipe
        )
        pruned, taught = f"{name} pruned {tail}", f"{student.name} from {name} pruned {tail}"
        _, simple, _, epsd = at_sparsity(protocol, name, network, label, method, sparsity)
        entries += [
            protocol.entry(pruned, teacher, against=(name,)),
            protocol.entry(taught, rounds.taught(student, teacher), against=(name,)),
            replace(simple, against=(name,)),
            replace(epsd, against=(taught, pruned, simple.name, name)),
        ]
    return entries
