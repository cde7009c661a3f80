"""EPSD is set beside what differs from it in one part, and shares with that all the rest."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.epsd.protocol import METHODS
from benchmarks.epsd.tables import SPARSITIES
from harness.benchmark import find_suite
from harness.contracts import SelfDistillation
from harness.criteria.prospr import ProsPr
from harness.criteria.random import Random
from harness.plan import count_trainings, inputs_first
from harness.recipe import Recipe
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.prune import Prune
from harness.stages.prune_channels_early import PruneChannelsEarly
from harness.stages.prune_early import PruneEarly
from harness.stages.self_distill import SelfDistill
from harness.stages.student import Student
from harness.stages.train import Train

WHOLE = {
    "cifar10": "full",
    "cifar100": "epsd-full",
    "tiny_imagenet": "epsd-full",
    "imagenet": "epsd",
    "cub200": "full",
    "fashion_mnist": "epsd",
}
"""The suite of each benchmark that holds all of its EPSD."""
BENCHMARKS = pytest.mark.parametrize("benchmark", WHOLE)


def networks(benchmark: str, suite: str | None = None) -> dict[str, Stage]:
    """The network of each entry, by its name."""
    return {
        entry.name: entry.evaluate.network for entry in find_suite(benchmark, suite or WHOLE[benchmark], 1)[1].entries
    }


def taught(found: Mapping[str, Stage], word: str) -> dict[str, SelfDistill]:
    """Those that prune early, then distil themselves, and have this word in their names."""
    stages = {name: stage for name, stage in found.items() if f" {word} " in name and isinstance(stage, SelfDistill)}
    assert stages
    return {name: stage for name, stage in stages.items() if isinstance(stage.network, PruneEarly | PruneChannelsEarly)}


def trained(network: Stage) -> Recipe:
    """How a network was trained."""
    assert isinstance(network, Train | SelfDistill | Distill | Prune)
    return network.recipe


@BENCHMARKS
def test_epsd_scores_by_the_loss_it_trains_with(benchmark: str) -> None:
    for name, stage in taught(networks(benchmark), "EPSD").items():
        assert isinstance(stage.network, PruneEarly | PruneChannelsEarly)
        assert stage.network.method == stage.method, name


@BENCHMARKS
def test_a_simple_combination_prunes_without_knowing_of_its_method(benchmark: str) -> None:
    for name, stage in taught(networks(benchmark), "simple").items():
        assert isinstance(stage.network, PruneEarly | PruneChannelsEarly)
        assert (stage.network.method, stage.network.criterion) == (None, ProsPr()), name


@BENCHMARKS
def test_a_simple_combination_differs_from_epsd_in_the_loss_that_scores_alone(benchmark: str) -> None:
    found = networks(benchmark)
    for name, stage in taught(found, "simple").items():
        twin = found[name.replace(" simple ", " EPSD ")]
        assert isinstance(twin, SelfDistill) and isinstance(stage.network, PruneEarly | PruneChannelsEarly)
        assert twin == replace(stage, network=replace(stage.network, method=stage.method))


@BENCHMARKS
def test_one_mask_of_prospr_is_trained_with_labels_and_by_every_method(benchmark: str) -> None:
    found = networks(benchmark)
    masks = {name: stage.network for name, stage in taught(found, "simple").items() if "MACs" not in name}
    for name, mask in masks.items():
        network, rest = name.split(" simple ")
        alone = found[f"{network} ProsPr {rest.split(' ', 1)[1]}"]
        assert isinstance(alone, Train) and alone.network == mask
    assert len(masks) == 3 * len({mask.key for mask in masks.values() if isinstance(mask, Stage)})


@BENCHMARKS
def test_every_entry_of_epsd_is_set_beside_all_that_lacks_a_part_of_it(benchmark: str) -> None:
    _, suite = find_suite(benchmark, "epsd", 1)
    entries = [entry for entry in suite.entries if " EPSD " in entry.name]
    for entry in entries:
        network, rest = entry.name.split(" EPSD ")
        label, sparsity = rest.split(" ", 1)
        baselines = {network, f"{network} {label}", f"{network} ProsPr {sparsity}"}
        assert baselines | {f"{network} {other} {rest}" for other in ("simple", "random")} <= set(entry.against)
    assert {rest.split(" ")[0] for rest in (entry.name.split(" EPSD ")[1] for entry in entries)} == set(METHODS)


@pytest.mark.parametrize(
    ("benchmark", "sparsities"),
    [
        ("cifar10", SPARSITIES),
        ("cifar100", SPARSITIES),
        ("tiny_imagenet", SPARSITIES),
        ("imagenet", (0.79, 0.90, 0.95)),
        ("cub200", SPARSITIES),
        ("fashion_mnist", (0.79, 0.90, 0.95)),
    ],
)
@pytest.mark.parametrize("word", ["EPSD", "simple", "random"])
def test_every_method_meets_every_sparsity(benchmark: str, sparsities: tuple[float, ...], word: str) -> None:
    met: dict[tuple[str, SelfDistillation], list[float]] = {}
    for name, stage in taught(networks(benchmark, "epsd"), word).items():
        assert isinstance(stage.network, PruneEarly)
        met.setdefault((name.split(" ")[0], stage.method), []).append(stage.network.sparsity)
    assert set(map(tuple, met.values())) == {tuple(sparsities)}
    assert {method for _, method in met} >= {METHODS["PS-KD"], METHODS["DLB"]} and len(met) % 3 == 0


@BENCHMARKS
def test_shuffled_masks_are_random_with_the_layer_densities_of_epsd_at_every_sparsity(benchmark: str) -> None:
    _, found = find_suite(benchmark, "epsd", 1)
    entries = {entry.name: entry for entry in found.entries}
    shuffled = taught(networks(benchmark, "epsd"), "shuffled")
    for name, stage in shuffled.items():
        epsd = entries[name.replace(" shuffled ", " EPSD ")]
        assert isinstance(stage.network, PruneEarly) and isinstance(epsd.evaluate.network, SelfDistill)
        assert stage.network.criterion == Random()
        assert stage.network.layers_like == epsd.evaluate.network.network
        assert replace(stage, network=epsd.evaluate.network.network) == epsd.evaluate.network
        assert name in epsd.against
    assert sorted(shuffled) == sorted(
        name.replace(" EPSD ", " shuffled ") for name in entries if " EPSD CS-KD " in name
    )


def test_an_ablation_changes_one_thing() -> None:
    found = networks("cifar100", "epsd-ablation")
    for label in METHODS:
        name = f"ResNet18 EPSD {label} 95 %"
        epsd = found[name]
        assert isinstance(epsd, SelfDistill) and isinstance(epsd.network, PruneEarly)
        others: dict[str, dict[str, Any]] = {
            "no inner step": {"criterion": ProsPr(inner_steps=0)},
            "1 inner step": {"criterion": ProsPr(inner_steps=1)},
            "5 inner steps": {"criterion": ProsPr(inner_steps=5)},
            "first order": {"criterion": ProsPr(gradient="first_order")},
            "new batches": {"criterion": ProsPr(inner_batch="new")},
            "from the weights looked ahead to": {"start": "looked_ahead"},
            "weights drawn again": {"start": "redrawn"},
        }
        for change, fields in others.items():
            assert found[f"{name}, {change}"] == replace(epsd, network=replace(epsd.network, **fields)), change


def test_only_ps_kd_is_tried_with_another_alpha_at_the_score() -> None:
    found = networks("cifar10", "epsd-ablation")
    name = "ResNet18 EPSD PS-KD 95 %, alpha 0.4 at the score"
    assert [key for key in found if "alpha" in key] == [name]
    epsd = found["ResNet18 EPSD PS-KD 95 %"]
    assert isinstance(epsd, SelfDistill) and isinstance(epsd.network, PruneEarly)
    assert found[name] == replace(epsd, network=replace(epsd.network, alpha_at_score=0.4))


def test_whole_channels_are_set_beside_all_that_lacks_a_part_too() -> None:
    _, suite = find_suite("cifar10", "epsd-ablation", 1)
    entries = {entry.name: entry for entry in suite.entries}
    thinned = entries["ResNet18 ProsPr less 50 % MACs"].evaluate.network
    assert isinstance(thinned, Train) and isinstance(thinned.network, PruneChannelsEarly)
    for label in METHODS:
        early, simple, random, epsd = (
            f"ResNet18 {part} less 50 % MACs"
            for part in ("ProsPr", *(f"{w} {label}" for w in ("simple", "random", "EPSD")))
        )
        assert entries[simple].against == (early,)
        assert set(entries[epsd].against) == {early, simple, random, "ResNet18", f"ResNet18 {label}"}


def test_criteria_at_initialisation_are_trained_alike() -> None:
    found = networks("cifar10", "epsd-init")
    trainings = [stage for stage in found.values() if isinstance(stage, Train)]
    assert len(trainings) == len(found) == 2 * 3 * 9
    assert len({(stage.recipe, stage.data, stage.seed) for stage in trainings}) == 1
    masks = {stage.network for stage in trainings}
    assert len(masks) == len(found)
    assert all(isinstance(mask, PruneEarly) and mask.method is None for mask in masks)


@pytest.mark.parametrize("benchmark", ["cifar10", "cifar100", "tiny_imagenet"])
def test_epsd_is_set_beside_prune_then_distill_at_the_nearest_sparsity(benchmark: str) -> None:
    _, suite = find_suite(benchmark, "cost", 1)
    entries = {entry.name: entry for entry in suite.entries}
    pairs = {}
    for name, entry in ((name, entry) for name, entry in entries.items() if " EPSD " in name):
        student, pruned = (entries[other].evaluate.network for other in entry.against[:2])
        assert isinstance(student, Distill) and isinstance(pruned, Prune) and student.teacher == pruned
        assert student.student == Student(like=pruned), "as many weights as the pruned network keeps"
        pairs[name.rsplit(" ", 2)[1]] = round(100 * pruned.sparsity)
    assert pairs == {"36": 36, "59": 59, "79": 79, "90": 89, "95": 95, "98": 98}


def test_prune_then_distill_costs_a_dense_network_rounds_of_pruning_and_a_student() -> None:
    found = networks("cifar100", "cost")
    dense, student, epsd = (
        found[f"ResNet18{tail}"] for tail in ("", "-st79 from ResNet18 pruned 79 %", " EPSD CS-KD 79 %")
    )
    assert isinstance(dense, Train) and isinstance(student, Distill) and isinstance(epsd, SelfDistill)
    trainings = [stage for stage in inputs_first(student) if hasattr(stage, "recipe")]
    assert trainings[0] == dense and trainings[-1] == student
    assert [type(stage) for stage in trainings[1:-1]] == 7 * [Prune]
    assert dense.recipe == student.recipe == epsd.recipe
    assert [stage for stage in inputs_first(epsd) if hasattr(stage, "recipe")] == [epsd], "EPSD needs one training"


def test_methods_are_tried_on_their_authors_recipes_beside_labels_on_the_same() -> None:
    found = networks("cifar10", "self-distillation")
    common = found["ResNet18"]
    assert isinstance(common, Train)
    for label, epochs, decay in (("CS-KD", 200, 1e-4), ("PS-KD", 300, 5e-4)):
        alone, own = found[f"ResNet18 on the recipe of {label}"], found[f"ResNet18 {label} on its own recipe"]
        assert isinstance(alone, Train) and isinstance(own, SelfDistill)
        assert alone.recipe == own.recipe != common.recipe
        assert (own.recipe.epochs, own.recipe.weight_decay, own.method) == (epochs, decay, METHODS[label])
    last = found["ResNet18 born again"]
    assert isinstance(last, Distill) and isinstance(last.teacher, Distill) and last.seed == 0


def test_methods_that_see_twice_the_images_have_to_beat_labels_for_twice_as_long() -> None:
    entries = {entry.name: entry for entry in find_suite("cub200", "self-distillation", 1)[1].entries}
    twice = "ResNet18 labels, twice as long"
    assert {name for name, entry in entries.items() if twice in entry.against} == {"ResNet18 CS-KD", "ResNet18 DLB"}
    alone, long = entries["ResNet18"].evaluate.network, entries[twice].evaluate.network
    assert isinstance(alone, Train) and isinstance(long, Train)
    assert long == replace(alone, recipe=replace(alone.recipe, epochs=400, milestones=(200, 300)))


@BENCHMARKS
def test_a_benchmark_tells_how_many_trainings_a_seed_takes(benchmark: str) -> None:
    _, suite = find_suite(benchmark, WHOLE[benchmark], 1)
    trainings, _ = count_trainings(entry.stages for entry in suite.entries)
    assert f" {trainings} trainings" in str(importlib.import_module(f"benchmarks.{benchmark}").__doc__)


@pytest.mark.parametrize("benchmark", ["cifar10", "cifar100", "tiny_imagenet"])
def test_rows_on_somebody_elses_recipe_have_names_that_say_so(benchmark: str) -> None:
    _, suite = find_suite(benchmark, WHOLE[benchmark], 1)
    found = networks(benchmark)
    ours = trained(found["ResNet18"])
    others = {name for name, stage in found.items() if trained(stage) != ours and not isinstance(stage, Prune)}
    assert all("recipe" in name or "twice as long" in name for name in others)
    assert "ours" in suite.protocol and "No & Park" in suite.protocol


@pytest.mark.parametrize("benchmark", [name for name in WHOLE if name != "fashion_mnist"])
def test_every_table_has_a_short_twin_that_says_so(benchmark: str) -> None:
    short = f"{WHOLE[benchmark]}-budget"
    found, twins = networks(benchmark), networks(benchmark, short)
    assert list(twins) == list(found)
    for name, twin in twins.items():
        assert trained(twin).epochs * 10 == trained(found[name]).epochs, name
    assert "tenth" in find_suite(benchmark, short, 1)[1].protocol


@BENCHMARKS
def test_rows_tell_the_gap_and_what_a_network_is_like_inside(benchmark: str) -> None:
    for entry in find_suite(benchmark, WHOLE[benchmark], 1)[1].entries:
        inspected = getattr(entry.inspect, "network", None)
        assert inspected == entry.evaluate.network
        assert entry.train == replace(entry.evaluate, split="train")


@BENCHMARKS
def test_another_seed_prunes_another_network(benchmark: str) -> None:
    _, suite = find_suite(benchmark, WHOLE[benchmark], 2)
    stages = {stage for _, wanted in suite.wanted for stage in inputs_first(wanted)}
    seeds = [stage.seed for stage in stages if isinstance(stage, PruneEarly | PruneChannelsEarly)]
    assert seeds.count(0) == seeds.count(1) == len(seeds) / 2 > 0
