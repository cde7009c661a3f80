"""Networks that learn from themselves: fresh ones, and what early pruning has left of one."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness import plugins
from harness.criteria.prospr import ProsPr
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.distillation.kd import KD
from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.models.vgg import VGG
from harness.network import WEIGHTS, read_network
from harness.pruning.mask import digest, masks_of
from harness.recipe import Recipe
from harness.run import run_stages
from harness.self_distillation.be_your_own_teacher import BeYourOwnTeacher
from harness.self_distillation.cs_kd import CSKD
from harness.self_distillation.dlb import DLB
from harness.self_distillation.label_smoothing import LabelSmoothing
from harness.self_distillation.ps_kd import PSKD
from harness.spec import Stage
from harness.stages.prepare import Prepare
from harness.stages.prune_early import PruneEarly
from harness.stages.self_distill import SelfDistill, born_again
from harness.stages.train import Train
from harness.store import Store
from harness.topology import Topology

DATA = Prepare(source=Digits())
RECIPE = Recipe(
    epochs=2,
    augment=Augment(crop="pad", size=32, flip=False),
    global_batch=256,
    batch_per_gpu=128,
    lr=0.02,
    engine="ddp",
)
SPEC = VGG(blocks=((8,), (12,)), classes=10)
ALONE = Train(network=SPEC, data=DATA, recipe=RECIPE)
CLASSMATES = SelfDistill(network=SPEC, method=CSKD(), data=DATA, recipe=RECIPE)
HISTORY, LAST_BATCH = (replace(CLASSMATES, method=method) for method in (PSKD(), DLB()))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run(store, DATA, ALONE)
    return store


def run(store: Store, *stages: Stage) -> list[dict[str, Any]]:
    run_stages(stages, store, Topology(), data=None, workers=1, listener=lambda stage, event: None)
    return [store.manifest(stage)["payload"] for stage in stages]


def tensors(store: Store, stage: Stage) -> dict[str, Tensor]:
    return load_file(store.artefact(stage) / WEIGHTS)


@pytest.mark.parametrize("name", [n for n in plugins.names("self_distillation") if n != "be_your_own_teacher"])
def test_every_method_trains_and_leaves_the_network_alone_behind(store: Store, name: str) -> None:
    stage = replace(CLASSMATES, method=plugins.class_of(f"self_distillation.{name}")())
    alone, payload = run(store, ALONE, stage)
    assert len(payload["losses"]) == 2 and payload["losses"] != alone["losses"]
    assert tensors(store, stage).keys() == tensors(store, ALONE).keys()
    assert payload["mask"] == alone["mask"], "nothing is pruned"


def test_exits_are_trained_and_not_published(store: Store) -> None:
    small = ResNet(depth=18, classes=10, widths=(8, 8, 16, 16), stem="cifar", stem_width=8)
    recipe = replace(RECIPE, epochs=1, global_batch=512)
    stage = SelfDistill(network=small, method=BeYourOwnTeacher(), data=DATA, recipe=recipe)
    run(store, stage)
    assert tensors(store, stage).keys() == small.build().state_dict().keys()


def test_a_smoothed_label_is_what_a_recipe_can_say_too(store: Store) -> None:
    as_recipe = replace(ALONE, recipe=replace(RECIPE, label_smoothing=0.1))
    as_method = replace(CLASSMATES, method=LabelSmoothing(smoothing=0.1))
    run(store, as_recipe, as_method)
    assert all(torch.equal(t, tensors(store, as_recipe)[name]) for name, t in tensors(store, as_method).items())


def test_an_empty_history_is_cross_entropy(store: Store) -> None:
    """In the first epoch nothing was said before: the loss is that of labels, to the last bit."""
    alone, found = run(store, ALONE, HISTORY)
    assert found["losses"][0] == alone["losses"][0]
    assert found["losses"][1] != alone["losses"][1], "then what was said before is learnt too"
    one_epoch = [replace(stage, recipe=replace(RECIPE, stop_epoch=1)) for stage in (ALONE, HISTORY)]
    run(store, *one_epoch)
    alone_then, found_then = (tensors(store, stage) for stage in one_epoch)
    assert all(torch.equal(found_then[name], tensor) for name, tensor in alone_then.items())


def test_the_first_update_of_dlb_knows_labels_alone(store: Store) -> None:
    """One update an epoch, so the first epoch is the first update."""
    single = replace(RECIPE, global_batch=1408, batch_per_gpu=704)
    alone, found = run(store, *(replace(stage, recipe=single) for stage in (ALONE, LAST_BATCH)))
    assert found["losses"][0] == alone["losses"][0] and found["losses"][1] != alone["losses"][1]


def test_second_images_are_counted(store: Store) -> None:
    alone, mates, history, previous = run(store, ALONE, CLASSMATES, HISTORY, LAST_BATCH)
    assert alone["image_passes"] == history["image_passes"] == 2 * 1280
    assert mates["image_passes"] == 2 * 2 * 1280
    assert previous["image_passes"] == (2 * 2 * 5 - 1) * 256, "before the first update there were none"


def test_epsd_learns_with_what_its_own_loss_has_left(store: Store) -> None:
    pruned = PruneEarly(
        network=SPEC, criterion=ProsPr(), sparsity=0.9, method=CSKD(), data=DATA, augment=RECIPE.augment, batch=64
    )
    epsd = replace(CLASSMATES, network=pruned)
    before, after = run(store, pruned, epsd)
    assert before["mask"] == after["mask"] == digest(masks_of(read_network(store.artefact(epsd), 32)))
    assert after["zeros"] == round(0.9 * after["prunable"])


def test_generations_are_taught_by_the_one_before(store: Store) -> None:
    first, second, third = born_again(SPEC, generations=2, method=KD(), data=DATA, recipe=RECIPE)
    assert first in second.inputs() and second in third.inputs() and third.seed == 0
    assert len({first.seed, second.seed, third.seed}) == 3, "each begins anew"
    run(store, first, second, third)


def test_smoothed_labels_in_the_recipe_are_refused() -> None:
    with pytest.raises(UserError, match="a network that distils itself has its method's targets"):
        replace(CLASSMATES, recipe=replace(RECIPE, label_smoothing=0.1))
