"""Students that learn from a teacher's features."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness import watch
from harness.batch import Batch
from harness.context import Context
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.crd import CRD
from harness.distillation.fitnet import FitNet
from harness.distillation.kd import KD
from harness.distillation.review_kd import ReviewKD
from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.network import WEIGHTS
from harness.objective import LiveTeacher
from harness.recipe import Recipe
from harness.run import run_stages
from harness.spec import Stage
from harness.stages import _fit
from harness.stages.distill import Distill
from harness.stages.prepare import Prepare
from harness.stages.teacher_outputs import outputs_for
from harness.stages.train import Train
from harness.store import Store
from harness.topology import Topology
from tests.distributed.ranks import run_ranks

DATA = Prepare(source=Digits(), minival=0.5)
RECIPE = Recipe(
    epochs=2,
    augment=Augment(crop="resized", size=8, min_area=0.5, flip=False),
    global_batch=128,
    batch_per_gpu=64,
    lr=0.02,
    engine="ddp",
    channels_last=False,  # on a CPU, DDP warns of the layout of 1x1 convolutions
)
"""Five steps an epoch of two micro-batches."""
SMALL = ResNet(depth=18, classes=10, widths=(8, 8, 8, 8), stem="cifar", stem_width=8)
TEACHER = Train(network=replace(SMALL, widths=(8, 8, 16, 16)), data=DATA, recipe=replace(RECIPE, epochs=1))
CONTRAST = CRD(dim=16, negatives=64)
FROM_CRD = Distill(student=SMALL, teacher=TEACHER, method=CONTRAST, data=DATA, recipe=RECIPE)
FROM_HINTS = replace(FROM_CRD, method=FitNet(feature_weight=1.0))
REVIEWED = replace(FROM_CRD, method=ReviewKD(), recipe=replace(RECIPE, engine="deepspeed"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run(store, DATA, TEACHER, FROM_CRD, FROM_HINTS, REVIEWED)
    return store


def run(store: Store, *stages: Stage, **options: Any) -> None:
    run_stages(stages, store, Topology(), data=None, workers=1, listener=lambda stage, event: None, **options)


def weights(store: Store, stage: Stage) -> dict[str, Tensor]:
    return load_file(store.artefact(stage) / WEIGHTS)


def with_teacher(store: Store, folder: Path) -> Store:
    """Another store that has the data and the teacher, and no students."""
    other = Store(folder / "other")
    for stage in (DATA, TEACHER):
        other.artefact(stage).parent.mkdir(parents=True)
        other.artefact(stage).symlink_to(store.artefact(stage))
    return other


@pytest.mark.parametrize("stage", [FROM_CRD, FROM_HINTS, REVIEWED], ids=["crd", "fitnet", "review kd on deepspeed"])
def test_a_student_learns_from_features(store: Store, stage: Distill) -> None:
    losses = store.manifest(stage)["payload"]["losses"]
    assert losses[1] < 0.98 * losses[0]
    student = stage.student
    assert isinstance(student, ResNet)
    student.build().load_state_dict(weights(store, stage))  # what was learned beside it is not published


def test_memory_and_adapters_survive_an_interruption(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the second epoch draws on all that was remembered in the first: the weights agree bit for bit."""
    again = with_teacher(store, tmp_path)
    monkeypatch.setattr(watch, "LOOK_EVERY", 4)
    answer, calls = LiveTeacher.__call__, []

    def interrupt(teacher: LiveTeacher, batch: Batch) -> Tensor:
        calls.append((batch.epoch, batch.position))
        if len(calls) == 15:
            raise KeyboardInterrupt
        return answer(teacher, batch)

    monkeypatch.setattr(LiveTeacher, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(again, FROM_CRD, checkpoint_s=1e-9)
    run(again, FROM_CRD, checkpoint_s=1e-9)
    assert calls[15] > (0, 0), "nothing was taken up again"
    expected, found = weights(store, FROM_CRD), weights(again, FROM_CRD)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_two_ranks_remember_what_one_does(store: Store, tmp_path: Path) -> None:
    """Each with as many threads as the other: this network makes much of how sums are rounded."""
    found = []
    for world in (1, 2):
        shared = with_teacher(store, tmp_path / str(world))
        shared.write_specs([DATA, TEACHER])
        for code, output in run_ranks([FROM_CRD], shared, world):
            assert code == 0, output
        found.append(weights(shared, FROM_CRD))
    for name in found[0]:
        torch.testing.assert_close(found[1][name], found[0][name], rtol=1e-4, atol=1e-4)


@pytest.fixture
def prepared(store: Store, context: Context, monkeypatch: pytest.MonkeyPatch) -> Callable[[Distill], tuple[Any, Any]]:
    """The student and the objective that a stage would train with."""
    made: list[tuple[Any, Any]] = []
    monkeypatch.setattr(_fit, "fit", lambda stage, shape, network, objective, *rest: made.append((network, objective)))

    def prepare(stage: Distill) -> tuple[Any, Any]:
        inputs: dict[str, Path] = {nested.key: store.artefact(nested) for nested in (DATA, TEACHER)}
        stage.run(inputs, context)
        return made[-1]

    return prepare


def test_the_student_starts_alike_whatever_the_method(prepared: Callable[[Distill], tuple[Any, Any]]) -> None:
    starts = [
        prepared(replace(FROM_CRD, method=method))[0].state_dict() for method in (KD(), FitNet(), CONTRAST, ReviewKD())
    ]
    for start in starts[1:]:
        assert all(torch.equal(tensor, starts[0][name]) for name, tensor in start.items())


def test_adapters_fit_both_networks_and_start_from_the_seed_alone(
    prepared: Callable[[Distill], tuple[Any, Any]],
) -> None:
    torch.manual_seed(99)
    one, again, deeper, seeded = (
        prepared(replace(FROM_CRD, **changes))[1]
        for changes in ({}, {}, {"student": replace(SMALL, depth=34)}, {"seed": 1})
    )
    assert one.learned.memory.shape == (2, 719, 16)  # the training images that are not set aside
    assert [layer.in_features for layer in one.learned.embed] == [8, 16]
    assert torch.equal(one.learned.memory, again.learned.memory)
    assert torch.equal(one.learned.memory, deeper.learned.memory)
    assert not torch.equal(one.learned.memory, seeded.learned.memory)


def test_a_teacher_of_stored_outputs_has_no_features() -> None:
    stored = outputs_for(RECIPE, teacher=TEACHER, classes=10, data=DATA)
    with pytest.raises(UserError, match="CRD compares features, stored outputs hold logits alone: give the teacher"):
        replace(FROM_CRD, teacher=stored)
    assert replace(FROM_CRD, teacher=stored, method=KD()).teacher == stored


def test_a_misspelt_layer_is_told_before_anything_is_trained(prepared: Callable[[Distill], tuple[Any, Any]]) -> None:
    with pytest.raises(UserError, match=r"no layer 'layer5' to tap: did you mean 'layer"):
        prepared(replace(FROM_CRD, method=FitNet(student_layers=("layer5",))))
