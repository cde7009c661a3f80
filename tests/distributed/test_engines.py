"""DeepSpeed against its oracle, and pruned weights under both, on two gloo ranks that walk one plan."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from harness.contracts import SelfDistillation
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.kd import KD
from harness.models.vgg import VGG
from harness.network import read_architecture
from harness.recipe import Recipe
from harness.self_distillation.be_your_own_teacher import BeYourOwnTeacher
from harness.self_distillation.cs_kd import CSKD
from harness.self_distillation.dlb import DLB
from harness.self_distillation.ps_kd import PSKD
from harness.spec import Stage
from harness.stages.distill import Distill
from harness.stages.evaluate import Evaluate
from harness.stages.prepare import Prepare
from harness.stages.prune import Prune
from harness.stages.prune_channels import PruneChannels
from harness.stages.self_distill import SelfDistill
from harness.stages.train import Train
from harness.store import Store
from tests.distributed.ranks import run_ranks

DATA = Prepare(source=Digits())
NETWORK = VGG(blocks=((4,), (8,)), classes=10)
ONE_STEP = Recipe(
    epochs=20,
    global_batch=1024,
    batch_per_gpu=256,
    augment=Augment(crop="pad", size=32, flip=False),
    lr=0.04,
    schedule="cosine",
    warmup_epochs=2,
)
"""An epoch of 1,437 digits holds one global batch: epoch losses are step losses, two micro-batches on each rank."""

DEEPSPEED = Train(network=NETWORK, data=DATA, recipe=ONE_STEP)
DDP = replace(DEEPSPEED, recipe=replace(ONE_STEP, engine="ddp"))
ZERO1 = replace(DEEPSPEED, recipe=replace(ONE_STEP, zero_stage=1))
ZERO2 = replace(DEEPSPEED, recipe=replace(ONE_STEP, zero_stage=2))
BF16 = replace(DEEPSPEED, recipe=replace(ONE_STEP, precision="bf16"))
BF16_DDP = replace(DEEPSPEED, recipe=replace(ONE_STEP, precision="bf16", engine="ddp"))
SHORT = replace(ONE_STEP, epochs=5, lr=0.2)
PRUNED = {
    stage: Prune(network=DDP, criterion=Magnitude(), sparsity=0.36, data=DATA, recipe=replace(SHORT, zero_stage=stage))
    for stage in (0, 1, 2)
}
BF16_PRUNED = replace(PRUNED[0], recipe=replace(SHORT, precision="bf16"))
AGAIN = replace(PRUNED[1], network=PRUNED[0], sparsity=0.5904)
TAUGHT = Distill(student=VGG(blocks=((4,),), classes=10), teacher=AGAIN, method=KD(), data=DATA, recipe=SHORT)
BF16_TAUGHT = replace(TAUGHT, recipe=replace(SHORT, precision="bf16"))
NARROW = PruneChannels(
    network=DDP,
    reduction=0.4,
    measure="macs",
    importance="taylor",
    data=DATA,
    recipe=replace(SHORT, engine="ddp"),
    scoring_batches=2,
)
WIDER = VGG(blocks=((8,), (16,)), classes=10)
THEMSELVES: dict[str, SelfDistillation] = {
    "CS-KD": CSKD(),
    "PS-KD": PSKD(),
    "DLB": DLB(),
    "be your own teacher": BeYourOwnTeacher(exits=WIDER.block_ends[:1], deepest=WIDER.block_ends[1]),
}
BY_DEEPSPEED = {
    name: SelfDistill(network=WIDER, method=method, data=DATA, recipe=SHORT) for name, method in THEMSELVES.items()
}
BY_DDP = {name: replace(stage, recipe=replace(SHORT, engine="ddp")) for name, stage in BY_DEEPSPEED.items()}
BF16_HISTORY = replace(BY_DEEPSPEED["PS-KD"], recipe=replace(SHORT, precision="bf16"))
COUNTED = Evaluate(network=TAUGHT, data=DATA, size=32, batch=7)
PLAN: list[Stage] = [
    *(DATA, DEEPSPEED, DDP, ZERO1, ZERO2, BF16, BF16_DDP),
    *(*PRUNED.values(), BF16_PRUNED, AGAIN, TAUGHT, BF16_TAUGHT, NARROW, COUNTED),
    *(*BY_DEEPSPEED.values(), *BY_DDP.values(), BF16_HISTORY),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """All of PLAN, run once by two ranks."""
    store = Store(tmp_path_factory.mktemp("store"))
    for code, output in run_ranks(PLAN, store, world=2):
        assert code == 0, output
    return store


def losses(store: Store, stage: Stage) -> list[float]:
    found: list[float] = store.manifest(stage)["payload"]["losses"]
    return found


@pytest.mark.parametrize("stage", [DEEPSPEED, ZERO1, ZERO2], ids=["zero 0", "zero 1", "zero 2"])
def test_deepspeed_and_plain_ddp_agree_for_twenty_steps(store: Store, stage: Stage) -> None:
    oracle = losses(store, DDP)
    assert len(oracle) == 20
    assert oracle[-1] < oracle[0] - 0.1, "nothing was learnt, so nothing was compared"
    assert losses(store, stage) == pytest.approx(oracle, abs=1e-5)


def test_bf16_is_near_fp32_and_the_same_in_both_engines(store: Store) -> None:
    exact, deepspeed, ddp = (losses(store, stage) for stage in (DDP, BF16, BF16_DDP))
    assert deepspeed != exact
    assert deepspeed == pytest.approx(ddp, abs=1e-3)
    assert deepspeed == pytest.approx(exact, rel=0.05)


def test_a_teacher_teaches_in_bf16_too(store: Store) -> None:
    assert losses(store, BF16_TAUGHT) != losses(store, TAUGHT)
    assert losses(store, BF16_TAUGHT) == pytest.approx(losses(store, TAUGHT), rel=0.05)


@pytest.mark.parametrize("name", THEMSELVES)
def test_a_network_learns_from_itself_alike_in_both_engines(store: Store, name: str) -> None:
    """Second images without gradients, a history spread over the ranks, the last update's logits, exits beside."""
    oracle = losses(store, BY_DDP[name])
    assert len(oracle) == 5 and oracle[-1] != oracle[0]
    assert losses(store, BY_DEEPSPEED[name]) == pytest.approx(oracle, abs=1e-5)


def test_a_history_is_kept_in_bf16_too(store: Store) -> None:
    exact = losses(store, BY_DEEPSPEED["PS-KD"])
    assert losses(store, BF16_HISTORY) != exact
    assert losses(store, BF16_HISTORY) == pytest.approx(exact, rel=0.05)


PRUNED_STAGES = {
    "zero 0": PRUNED[0],
    "zero 1": PRUNED[1],
    "zero 2": PRUNED[2],
    "bf16": BF16_PRUNED,
    "second round": AGAIN,
}


@pytest.mark.parametrize("stage", PRUNED_STAGES.values(), ids=PRUNED_STAGES)
def test_the_published_file_holds_exactly_the_promised_zeros(store: Store, stage: Prune) -> None:
    weights = load_file(store.verify(stage) / "weights.safetensors")
    prunable = [w for name, w in weights.items() if w.ndim > 1]
    total = sum(w.size for w in prunable)
    assert sum(int((w == 0).sum()) for w in prunable) == round(stage.sparsity * total)
    assert any((w != 0).any() for w in prunable)


def test_a_pruned_network_did_train_and_its_zeros_stayed_where_they_were(store: Store) -> None:
    before = load_file(store.verify(DDP) / "weights.safetensors")
    first = load_file(store.verify(PRUNED[0]) / "weights.safetensors")
    second = load_file(store.verify(AGAIN) / "weights.safetensors")
    moved = gone = 0
    for name in [name for name, w in first.items() if w.ndim > 1]:
        kept = first[name] != 0
        moved += int((first[name][kept] != before[name][kept]).sum())
        gone += int((second[name][~kept] != 0).sum())
    assert moved > 0
    assert gone == 0, "a later round revived a removed weight"


def test_two_ranks_lose_the_channels_that_one_rank_does_and_train_on_alike(store: Store, tmp_path: Path) -> None:
    """Ranks that had lost different ones could not train together."""
    alone = Store(tmp_path / "alone")
    for stage in (DATA, DDP):
        shutil.copytree(store.artefact(stage), alone.artefact(stage))
    ((code, output),) = run_ranks([DATA, DDP, NARROW], alone, world=1)
    assert code == 0, output
    one, two = (each.manifest(NARROW) for each in (alone, store))
    assert (one["provenance"]["ranks"], two["provenance"]["ranks"]) == (1, 2)
    record = read_architecture(store.verify(NARROW)).channels
    assert record == read_architecture(alone.verify(NARROW)).channels
    assert sum(len(group["removed"]) for group in record["groups"]) > 0
    for fact in ("reached", "image_passes"):
        assert one["payload"][fact] == two["payload"][fact]
    assert losses(store, NARROW) == pytest.approx(losses(alone, NARROW), abs=1e-5)


def test_two_ranks_count_every_image_once(store: Store) -> None:
    assert store.manifest(COUNTED)["payload"]["n"] == store.manifest(DATA)["payload"]["images"]["val"]


def test_the_number_of_ranks_is_told_in_provenance(store: Store) -> None:
    assert store.manifest(DDP)["provenance"]["ranks"] == 2
    assert store.manifest(DATA)["provenance"]["ranks"] == 1
