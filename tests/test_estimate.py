"""What a plan will cost: from what was measured if anything was, else from arithmetic."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.benchmark import find_suite
from harness.estimate import KNOWN_SETS, Estimate, assumes_gpu, estimates, images_of
from harness.models.resnet import ResNet
from harness.plan import Step, make_plan
from harness.profile import Profile
from harness.row import to_json
from harness.spec import Stage
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.train import Train
from harness.store import Store
from tests.leaderboard.toy import ROW


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def stage_of(benchmark: str, suite: str, kind: type[Stage]) -> Any:
    """The first stage of this kind in a suite."""
    plan = make_plan(find_suite(benchmark, suite)[1].wanted, Store(Path("/nowhere")))
    return next(step.stage for step in plan if isinstance(step.stage, kind))


DENSE: Train = stage_of("digits", "full", Train)
LONGER = replace(DENSE, recipe=replace(DENSE.recipe, epochs=3 * DENSE.recipe.epochs))


def to_run(stages: Sequence[Stage]) -> list[Step]:
    return [Step(stage, False, "entry") for stage in stages]


def measure(results: Path, stage: Stage, seconds: float, device: str = "cpu") -> None:
    """Leave a row that tells what a stage took."""
    path = results / "rows" / "digits" / "full" / f"{stage.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(replace(ROW, stages={stage.key: [stage.name, 1, seconds]}, device=device)))


def publish(store: Store, stage: Stage, payload: dict[str, Any], **made: Any) -> None:
    with store.aside(stage) as folder:
        store.publish(stage, folder, payload, made)


def test_what_was_measured_comes_before_what_is_scaled_and_that_before_the_model(store: Store, results: Path) -> None:
    other = replace(DENSE, network=ResNet(depth=18, classes=10))
    measure(results, DENSE, 40.0)
    found = estimates(to_run([DENSE, LONGER, other]), "digits", store, results, gpu=False)
    assert found[DENSE.key] == Estimate(40.0, "measured")
    assert found[LONGER.key] == Estimate(120.0, "scaled"), "three times as many epochs"
    assert found[other.key].source == "modelled", "another network"


@pytest.mark.parametrize(
    "change",
    [{"precision": "bf16"}, {"augment": replace(DENSE.recipe.augment, size=64)}],
)
def test_other_images_and_other_arithmetic_are_not_scaled(store: Store, results: Path, change: dict[str, Any]) -> None:
    measure(results, DENSE, 40.0)
    odd = replace(DENSE, recipe=replace(DENSE.recipe, **change))
    assert estimates(to_run([odd]), "digits", store, results, gpu=False)[odd.key].source == "modelled"


def test_a_cpu_says_nothing_about_a_gpu(store: Store, results: Path) -> None:
    measure(results, DENSE, 40.0)
    assert estimates(to_run([DENSE]), "digits", store, results, gpu=True)[DENSE.key].source == "modelled"
    measure(results, DENSE, 2.0, device="NVIDIA H100")
    assert estimates(to_run([DENSE]), "digits", store, results, gpu=True)[DENSE.key] == Estimate(2.0, "measured")


def test_what_lies_in_the_store_is_scaled_from_and_costs_nothing_more(store: Store, results: Path) -> None:
    publish(store, DENSE, {}, device_seconds=30.0, device="cpu")
    steps = [Step(DENSE, True, "dense"), *to_run([LONGER])]
    found = estimates(steps, "digits", store, results, gpu=False)
    assert found == {LONGER.key: Estimate(90.0, "scaled")}


def test_the_model_is_the_arithmetic_over_the_stated_rate(store: Store, results: Path) -> None:
    """A ResNet-50 takes 4.09e9 multiply-accumulates (torchvision's page): 50,000 images at 6e12/s are 34 s; to train
    it three times as much for 1,280,000 of the images, 90 times, at 1.5e13/s."""
    train, evaluate = (stage_of("imagenet", "fixed", kind) for kind in (Train, Evaluate))
    assert (train.network.depth, evaluate.network, train.recipe.epochs) == (50, train, 90)
    found = estimates(to_run([train, evaluate]), "imagenet", store, results, gpu=True)
    assert found[evaluate.key].device_seconds == pytest.approx(50_000 * 4.09e9 / 6e12, rel=0.01)
    assert found[train.key].device_seconds == pytest.approx(90 * 1_281_024 * 3 * 4.09e9 / 15e12, rel=0.01)


def test_every_stage_of_the_large_plan_gets_a_figure(store: Store, results: Path) -> None:
    plan = make_plan(find_suite("imagenet", "full")[1].wanted, store)
    found = estimates(plan, "imagenet", store, results, gpu=True)
    assert set(found) == {step.stage.key for step in plan}


def test_a_set_of_unknown_size_is_estimated_once_it_is_prepared(store: Store, results: Path) -> None:
    train = stage_of("imagenet", "smoke", Train)
    assert estimates(to_run([train.data, train]), "imagenet", store, results, gpu=True) == {}
    publish(store, train.data, {"images": {"train": 320, "val": 10}}, device="cpu")
    assert set(estimates(to_run([train]), "imagenet", store, results, gpu=True)) == {train.key}


def test_a_machine_without_torch_tells_what_was_measured(
    store: Store, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    measure(results, DENSE, 40.0)
    other = replace(DENSE, network=ResNet(depth=18, classes=10))
    assert set(estimates(to_run([DENSE, LONGER, other]), "digits", store, results, gpu=False)) == {
        DENSE.key,
        LONGER.key,
    }


def test_a_part_of_a_set_and_its_minival_are_counted(store: Store) -> None:
    small = stage_of("fashion_mnist", "full", Prepare)
    assert images_of(small, store) == {"train": 2000, "minival": 0, "val": 10_000}
    shared = Prepare(source=DENSE.data.source, minival=0.2)
    assert images_of(shared, store) == {"train": 1150, "minival": 287, "val": 360}


@pytest.mark.parametrize("benchmark", ["cifar10", "cifar100", "cub200", "digits", "imagenet", "tiny_imagenet"])
def test_the_sets_of_the_benchmarks_are_known(benchmark: str) -> None:
    suite = find_suite(benchmark, None)[0]
    assert stage_of(benchmark, suite, Prepare).source.name in KNOWN_SETS


def test_a_gpu_is_assumed_where_something_speaks_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not assumes_gpu(1, Profile())
    assert not assumes_gpu(1, Profile(partition="gpu", gres="shard:2")), "a name proves nothing"
    assert assumes_gpu(8, Profile())
    assert assumes_gpu(1, Profile(gres="gpu:a100:1"))
    assert assumes_gpu(1, Profile(gpus=1))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert assumes_gpu(1, Profile())
