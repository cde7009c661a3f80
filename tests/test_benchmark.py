"""A benchmark file as somebody writes it: found by name, run under several seeds, refused where it says nonsense."""

import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import benchmarks
from harness.benchmark import Entry, Suite, find_suite, over_seeds
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.errors import UserError
from harness.models.vgg import VGG
from harness.recipe import Recipe
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.train import Train

DATA = Prepare(source=Digits())
NETWORK = VGG(blocks=((4,),), classes=10)
EPOCHS = {"short": 1, "long": 2}

MODULE = """
from tests.test_benchmark import two_lengths
SUITES = {"full": two_lengths, "other": two_lengths}
"""


def entry(name: str, seed: int, **fields: Any) -> Entry:
    recipe = Recipe(epochs=EPOCHS.get(name, 3), augment=Augment(crop="none", size=32))
    network = Train(network=NETWORK, data=DATA, recipe=recipe, seed=seed)
    return Entry(name=name, evaluate=Evaluate(network=network, data=DATA, size=32), **fields)


def two_lengths(seed: int) -> Suite:
    return Suite(entries=(entry("short", seed), entry("long", seed, against=("short",))), seeds=2, protocol="brief")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a benchmark whose file was just written."""
    (tmp_path / "toy.py").write_text(MODULE)
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield "toy"
    sys.modules.pop("benchmarks.toy", None)


def test_all_seeds_of_an_entry_stand_together(toy: str) -> None:
    name, suite = find_suite(toy, None, 3)
    assert name == "full"
    assert [(e.name, e.seed) for e in suite.entries] == [(n, s) for n in EPOCHS for s in range(3)]
    assert (suite.names, suite.seeds, suite.protocol) == (("short", "long"), 3, "brief")
    assert len({e.evaluate.key for e in suite.entries}) == 6


def test_a_suite_says_how_many_seeds_are_usual(toy: str) -> None:
    assert len(find_suite(toy, "other")[1].entries) == 4
    assert len(find_suite(toy, "other", 1)[1].entries) == 2


def test_more_seeds_leave_the_first_ones_as_they_were(toy: str) -> None:
    one, three = find_suite(toy, None, 1)[1], find_suite(toy, None, 3)[1]
    assert [e.evaluate.key for e in one.entries] == [e.evaluate.key for e in three.entries[::3]]


def test_a_plan_tells_seeds_where_there_are_several(toy: str) -> None:
    assert [label for label, _ in find_suite(toy, None, 2)[1].wanted] == [
        "short, seed 0", "short, seed 1", "long, seed 0", "long, seed 1",
    ]  # fmt: skip
    assert [label for label, _ in find_suite(toy, None, 1)[1].wanted] == ["short", "long"]


def test_whatever_a_row_is_read_off_is_wanted() -> None:
    plain = entry("short", 0)
    train = dataclasses.replace(plain.evaluate, split="train")
    smoothing = dataclasses.replace(plain.evaluate, split="minival")
    full = dataclasses.replace(plain, train=train, smoothing=smoothing)
    assert plain.stages == (plain.evaluate,)
    assert full.stages == (plain.evaluate, train, smoothing)
    assert Suite(entries=(full,)).wanted == [("short", stage) for stage in full.stages]


def suite_of(*entries: Entry) -> Suite:
    return Suite(entries=entries)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda seed: suite_of(entry("short", seed, against=("short", "shart"))), "with 'shart': did you mean 'short'"),
        (lambda seed: suite_of(entry(f"seed {seed}", seed)), "entries of seed 1 are not those of seed 0: 'seed 0'"),
        (lambda seed: suite_of(*map(entry, ["long", "short"][:: 1 - 2 * seed], [0, 0])), "seed 0: 'their order'"),
        (lambda seed: suite_of(entry("short", seed), entry("short", seed + 9)), "two entries are called 'short'"),
        (lambda seed: suite_of(entry("a", seed), entry("b", seed)), "'a' and 'b' are the same evaluation"),
    ],
)
def test_entries_that_cannot_be_told_apart_or_compared_are_refused(
    make: Callable[[int], Suite], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        over_seeds([make(0), make(1)])


def test_a_seed_that_reaches_only_the_ancestors_is_refused() -> None:
    """Two networks of the same own seed: whom would a comparison pair them with?"""
    first, second = entry("short", 0), entry("long", 0)
    with pytest.raises(UserError, match="'short' trains several networks under one seed"):
        over_seeds([suite_of(first), suite_of(dataclasses.replace(first, evaluate=second.evaluate))])


def test_a_network_that_no_seed_changes_is_one_network() -> None:
    suite = over_seeds([suite_of(entry("short", 0)), suite_of(entry("short", 0))])
    assert len({e.evaluate.key for e in suite.entries}) == 1


def test_a_refused_suite_is_named(toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("benchmarks.toy")
    monkeypatch.setitem(module.SUITES, "full", lambda seed: suite_of(entry("short", seed, against=("none",))))
    with pytest.raises(UserError, match="suite 'full' of toy: entry 'short' is compared with 'none'"):
        find_suite(toy, None)
