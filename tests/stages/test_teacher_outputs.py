"""A teacher's outputs, computed once and read by every student."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness import network as networks
from harness.batch import Batch
from harness.context import Context
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.kd import KD
from harness.errors import UserError
from harness.models.vgg import VGG
from harness.network import WEIGHTS
from harness.objective import LiveTeacher
from harness.outputs import Shape, StoredOutputs
from harness.plan import make_plan, render
from harness.recipe import Recipe
from harness.run import run_stages
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.prepare import Prepare
from harness.stages.teacher_outputs import live_teacher, outputs_for
from harness.stages.train import Train
from harness.store import Store
from harness.topology import Topology
from tests.distributed.ranks import run_ranks

DATA = Prepare(source=Digits())
RECIPE = Recipe(
    epochs=2, augment=Augment(crop="pad", size=32), global_batch=256, batch_per_gpu=64, lr=0.05, engine="ddp"
)
TEACHER = Train(network=VGG(blocks=((8,), (8,)), classes=10), data=DATA, recipe=RECIPE)
ALL = outputs_for(RECIPE, teacher=TEACHER, classes=10, data=DATA)
TOP3 = replace(ALL, top_k=3)
FROM_LIVE = Distill(student=VGG(blocks=((4,),), classes=10), teacher=TEACHER, method=KD(), data=DATA, recipe=RECIPE)
FROM_STORED = replace(FROM_LIVE, teacher=ALL)
FROM_TOP3 = replace(FROM_LIVE, teacher=TOP3)
BF16 = replace(RECIPE, precision="bf16")
BF16_LIVE = replace(FROM_LIVE, recipe=BF16)
BF16_STORED = replace(BF16_LIVE, teacher=outputs_for(BF16, teacher=TEACHER, classes=10, data=DATA))
ROWS = 1437 // 256 * 256


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run(store, DATA, TEACHER, ALL, TOP3, FROM_LIVE, FROM_STORED, FROM_TOP3, BF16_STORED.teacher, BF16_LIVE, BF16_STORED)
    return store


def run(store: Store, *stages: Stage) -> None:
    run_stages(stages, store, Topology(), data=None, workers=1, listener=lambda stage, event: None)


def weights(store: Store, stage: Stage) -> dict[str, Tensor]:
    return load_file(store.artefact(stage) / WEIGHTS)


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max((one[name] - other[name]).abs().max().item() for name in one)


PAIRS = [pytest.param(FROM_LIVE, FROM_STORED, id="fp32"), pytest.param(BF16_LIVE, BF16_STORED, id="bf16")]


@pytest.mark.parametrize(("live", "stored"), PAIRS)
def test_a_student_of_stored_logits_is_that_of_the_live_teacher(store: Store, live: Stage, stored: Stage) -> None:
    assert difference(weights(store, live), weights(store, stored)) <= 1e-5
    assert difference(weights(store, live), weights(store, FROM_TOP3)) > 1e-4, "the teacher made no difference"


def test_a_live_teacher_is_run_as_its_student_is(
    store: Store, monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    """Evaluated, without gradients, in its layout and precision, compiled if the student is."""
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr(networks, "place", lambda network, device, **options: asked.append(options))
    recipe = replace(BF16, compiled=True, channels_last=False)
    teacher = live_teacher(store.artefact(TEACHER), recipe, context)
    assert asked == [{"channels_last": False, "compiled": True}]
    assert not teacher.network.training
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    images = torch.zeros(2, 3, 32, 32)
    answer = teacher(Batch(images, torch.zeros(2), torch.zeros(2)))
    assert (answer.dtype, answer.requires_grad) == (torch.bfloat16, False)


def test_every_position_of_every_epoch_has_its_row(store: Store) -> None:
    epochs = [np.load(store.artefact(ALL) / f"epoch-{epoch:03}.logits.npy") for epoch in range(2)]
    assert [rows.shape for rows in epochs] == [(ROWS, 10)] * 2
    assert all(rows.any(axis=1).all() for rows in epochs)
    assert not np.array_equal(*epochs), "other crops, other outputs"


def test_the_size_is_told_before_and_is_that_of_the_files(store: Store, tmp_path: Path) -> None:
    def told(where: Store, stage: Stage) -> str:
        plan = render(make_plan([("x", stage)], where), nodes=1, gpus=1)
        (line,) = [line for line in plan.splitlines() if stage.key[:12] in line]
        return line

    assert told(Store(tmp_path), ALL).endswith("; stores 80 B for each training image")
    assert told(Store(tmp_path), TOP3).endswith("; stores 56 B for each training image")
    assert told(store, ALL).endswith("; stores 115 kB")  # of 1,437 images; the epochs leave out the last 157
    for stage, each in ((ALL, 80), (TOP3, 56), (BF16_STORED.teacher, 40)):
        assert getattr(stage, "bytes_an_image") == each  # noqa: B009
        size = sum(path.stat().st_size - 128 for path in store.artefact(stage).glob("*.npy"))
        assert size == each * ROWS


def test_two_ranks_store_what_one_does(store: Store, tmp_path: Path) -> None:
    shared = Store(tmp_path / "shared")
    shared.write_specs([DATA, TEACHER])
    for stage in (DATA, TEACHER):
        shared.artefact(stage).parent.mkdir(parents=True)
        shared.artefact(stage).symlink_to(store.artefact(stage))
    for code, output in run_ranks([ALL], shared, 2):
        assert code == 0, output
    for epoch in range(2):
        name = f"epoch-{epoch:03}.logits.npy"
        assert np.array_equal(np.load(shared.artefact(ALL) / name), np.load(store.artefact(ALL) / name))


def test_finished_epochs_are_not_computed_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    again = replace(ALL, seed=5)
    seen: list[int] = []
    answer = LiveTeacher.__call__

    def die_in_the_second_epoch(teacher: LiveTeacher, batch: Batch) -> Tensor:
        seen.append(batch.epoch)
        if seen.count(1) == 3:
            raise KeyboardInterrupt
        return answer(teacher, batch)

    monkeypatch.setattr(LiveTeacher, "__call__", die_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        run(store, again)
    seen = [1, 1, 1]
    run(store, again)
    assert set(seen) == {1}
    assert sorted(path.name for path in store.artefact(again).glob("*.npy")) == [
        "epoch-000.logits.npy",
        "epoch-001.logits.npy",
    ]


def test_outputs_of_another_stream_are_refused() -> None:
    for changes in ({"seed": 1}, {"recipe": replace(RECIPE, epochs=3)}, {"recipe": replace(RECIPE, batch_per_gpu=32)}):
        with pytest.raises(UserError, match="the stored outputs belong to another stream"):
            replace(FROM_STORED, **changes)  # type: ignore[arg-type]
    other_rate = replace(RECIPE, lr=0.01, ema_decay=0.9)
    assert replace(FROM_STORED, recipe=other_rate).teacher == ALL, "what a teacher does not meet may differ"


@pytest.mark.parametrize("top_k", [0, 10, 11])
def test_top_k_out_of_range(top_k: int) -> None:
    with pytest.raises(UserError, match=rf"top_k {top_k} does not lie in 1 \.\. 9"):
        replace(ALL, top_k=top_k)


def test_top_k_keeps_the_probabilities_of_the_top_and_spreads_the_rest() -> None:
    logits = torch.randn(6, 10) * 4
    shape = Shape(6, 10, 3)
    found = shape.expand(shape.compress(logits)).softmax(1)
    expected = logits.softmax(1)
    top, classes = expected.topk(3, dim=1)
    even = ((1 - top.sum(1, keepdim=True)) / 7).expand(6, 10).scatter(1, classes, top)
    torch.testing.assert_close(found, even, rtol=1e-5, atol=1e-7)


def test_a_teacher_of_other_outputs_is_refused(store: Store) -> None:
    with pytest.raises(UserError, match="the teacher has 10 outputs, its TeacherOutputs say 12"):
        run(store, replace(ALL, classes=12))


def test_rows_are_found_by_epoch_and_position(store: Store) -> None:
    stored = StoredOutputs(store.artefact(TOP3))
    complete = StoredOutputs(store.artefact(ALL))

    def batches() -> Iterator[Batch]:
        for epoch, position in ((1, 64), (0, 1216), (1, 0)):
            yield Batch(torch.zeros(64, 3, 1, 1), torch.zeros(64), torch.zeros(64), epoch, position)

    for batch in batches():
        rows = np.load(store.artefact(ALL) / f"epoch-{batch.epoch:03}.logits.npy")
        expected = torch.from_numpy(rows[batch.position : batch.position + 64])
        assert torch.equal(complete(batch), expected)
        assert torch.equal(stored(batch).topk(3).indices, expected.topk(3).indices)
