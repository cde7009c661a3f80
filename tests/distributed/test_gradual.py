"""Weights that go while two ranks train, under ZeRO 2 whose weights of record are copies, and a chosen epoch."""

import pytest
import torch
from safetensors.torch import load_file

from harness.criteria.taylor import Taylor
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.models.vgg import VGG
from harness.network import WEIGHTS, read_network
from harness.pruning.mask import digest, masks_of
from harness.recipe import Recipe
from harness.stages.prepare import Prepare
from harness.stages.prune_gradually import PruneGradually
from harness.stages.train import Train
from harness.store import Store
from tests.distributed.ranks import run_ranks

DATA = Prepare(source=Digits(), minival=0.2)
RECIPE = Recipe(
    epochs=3,
    augment=Augment(crop="none", size=32),
    global_batch=256,
    batch_per_gpu=128,
    lr=0.1,
    zero_stage=2,
    channels_last=False,
)
SPEC = VGG(blocks=((8,), (16,)), classes=10)
GRADUAL = PruneGradually(network=SPEC, criterion=Taylor(batches=2), sparsity=0.6, every=3, data=DATA, recipe=RECIPE)
CHOSEN = Train(network=SPEC, data=DATA, recipe=Recipe(
    epochs=3, augment=RECIPE.augment, global_batch=256, batch_per_gpu=128, lr=0.1, keep="best", engine="ddp"
))  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Store]:
    """The same plan on one rank and on two."""
    found = {world: Store(tmp_path_factory.mktemp(f"{world}")) for world in (1, 2)}
    for world, store in found.items():
        for code, output in run_ranks([DATA, GRADUAL, CHOSEN], store, world=world):
            assert code == 0, output
    return found


def test_two_ranks_remove_as_one_does(stores: dict[int, Store]) -> None:
    one, two = (store.manifest(GRADUAL)["payload"] for store in stores.values())
    assert two["zeros"] == one["zeros"] == round(0.6 * one["prunable"])
    assert two["losses"] == pytest.approx(one["losses"], abs=5e-3)  # scores that nearly tie may fall otherwise
    assert two["image_passes"] == one["image_passes"] > 3 * 1024, "scoring is counted too"


def test_the_file_holds_the_mask_that_training_ended_with(stores: dict[int, Store]) -> None:
    store = stores[2]
    masks = masks_of(read_network(store.artefact(GRADUAL), 32))
    assert digest(masks) == store.manifest(GRADUAL)["payload"]["mask"]


def test_two_ranks_choose_the_epoch_that_one_does(stores: dict[int, Store]) -> None:
    one, two = (load_file(store.artefact(CHOSEN) / WEIGHTS) for store in stores.values())
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)
