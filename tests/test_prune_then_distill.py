"""The suites of prune-then-distill share what they can, and their short twins are the same science."""

from dataclasses import replace

import pytest

from benchmarks.cifar100 import TRAIN
from benchmarks.suites.assemble import tenth
from harness.benchmark import find_suite
from harness.plan import count_trainings
from harness.stages.distill import Distill
from harness.stages.prune import Prune
from harness.stages.prune_early import PruneEarly
from harness.stages.train import Train


def test_three_seeds_of_cifar100_train_a_third_of_what_single_entries_would() -> None:
    _, suite = find_suite("cifar100", "full", 3)
    shared, alone = count_trainings(entry.stages for entry in suite.entries)
    assert alone >= 3 * shared
    assert suite.seeds == 3 and len(suite.entries) == 3 * len(suite.names)


def test_a_tenth_of_a_recipe_is_the_same_but_for_its_epochs() -> None:
    short = tenth(TRAIN)
    assert (short.epochs, short.milestones) == (20, (6, 12, 16))
    assert replace(short, epochs=TRAIN.epochs, milestones=TRAIN.milestones) == TRAIN


@pytest.mark.parametrize("benchmark", ["cifar100", "tiny_imagenet", "imagenet"])
def test_every_table_has_a_short_twin_that_says_so(benchmark: str) -> None:
    (_, whole), (_, short) = (find_suite(benchmark, name, 1) for name in ("full", "full-budget"))
    assert short.names == whole.names
    assert "tenth" in short.protocol and "tenth" not in whole.protocol
    assert not {entry.evaluate.key for entry in whole.entries} & {
        entry.evaluate.key for entry in short.entries if hasattr(entry.evaluate.network, "recipe")
    }
    assert all(entry.promised is None for entry in short.entries), "nothing is published for so few epochs"


def test_a_79_percent_teacher_is_seven_rounds_that_contain_two_and_four() -> None:
    _, suite = find_suite("cifar100", "fixed", 1)
    chain = [entry.evaluate.network for entry in suite.entries if entry.name == "VGG19 pruned 79 %"]
    sparsities = []
    while isinstance(chain[-1], Prune):
        sparsities.append(chain[-1].sparsity)
        chain.append(chain[-1].network)  # type: ignore[arg-type]
    assert sparsities[0] == 0.7902848 and len(sparsities) == 7
    others = {e.name: e.evaluate.network for e in suite.entries}
    assert (
        others["VGG19 pruned 36 %"] in chain and others["VGG19 pruned 59 %"] in chain and others["VGG19"] == chain[-1]
    )


def test_students_are_told_apart_by_their_teacher_alone() -> None:
    _, suite = find_suite("cifar100", "controls", 1)
    students = [e.evaluate.network for e in suite.entries if isinstance(e.evaluate.network, Distill)]
    assert len({student.teacher.key for student in students}) == len(students) == 9
    assert len({(s.student, s.method, s.recipe, s.seed, s.data) for s in students}) == 1


@pytest.mark.parametrize(("benchmark", "suite", "batch"), [("cifar100", "pruning", 128), ("imagenet", "synflow", 32)])
def test_teachers_pruned_at_the_start_are_scored_on_the_batches_they_are_trained_on(
    benchmark: str, suite: str, batch: int
) -> None:
    found = {entry.name: entry.evaluate.network for entry in find_suite(benchmark, suite, 1)[1].entries}
    early = {name: net for name, net in found.items() if isinstance(net, Train) and isinstance(net.network, PruneEarly)}
    for name, teacher in early.items():
        assert isinstance(teacher.network, PruneEarly)
        assert (teacher.network.augment, teacher.network.batch) == (teacher.recipe.augment, batch)
        assert teacher.network.sparsity == 0.7902848
        assert teacher.network.iterations == (100 if "SynFlow" in name else 1)
    assert len(early) == {"pruning": 2, "synflow": 1}[suite]
