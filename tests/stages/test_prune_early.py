"""Networks that lose weights before they are trained, and what is trained of them then."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import plugins
from harness.batch import Batch
from harness.context import Context
from harness.contracts import Criterion, SelfDistillation
from harness.criteria.grasp import GraSP
from harness.criteria.magnitude import Magnitude
from harness.criteria.prospr import ProsPr
from harness.criteria.random import Random
from harness.criteria.snip import Snip
from harness.criteria.synflow import SynFlow
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.data.prepared import Prepared
from harness.errors import UserError
from harness.journal import Journal
from harness.models.resnet import ResNet
from harness.models.vgg import VGG
from harness.network import read_network
from harness.pruning.mask import digest, kept, masks_of, prunable
from harness.recipe import Recipe
from harness.run import run_stages
from harness.self_distillation.be_your_own_teacher import BeYourOwnTeacher
from harness.self_distillation.cs_kd import CSKD
from harness.self_distillation.dlb import DLB
from harness.self_distillation.label_smoothing import LabelSmoothing
from harness.self_distillation.ps_kd import PSKD
from harness.spec import Stage
from harness.stages.prepare import Prepare
from harness.stages.prune_channels_early import PruneChannelsEarly
from harness.stages.prune_early import PruneEarly
from harness.stages.train import Train
from harness.store import Store
from harness.topology import Topology

DATA = Prepare(source=Digits())
AUGMENT = Augment(crop="pad", size=32, flip=False)
SPEC = VGG(blocks=((8,), (12,)), classes=10)
SNIP = PruneEarly(network=SPEC, criterion=Snip(), sparsity=0.8, data=DATA, augment=AUGMENT, batch=64)
PROSPR = replace(SNIP, criterion=ProsPr(inner_lr=0.5))
EPSD = replace(PROSPR, method=CSKD())
SHUFFLED = replace(EPSD, criterion=Random(), method=None, layers_like=EPSD)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run(store, DATA, SNIP, PROSPR, EPSD)
    return store


def run(store: Store, *stages: Stage) -> list[dict[str, Any]]:
    run_stages(stages, store, Topology(), data=None, workers=1, listener=lambda stage, event: None)
    return [store.manifest(stage)["payload"] for stage in stages]


def weights(store: Store, stage: Stage) -> dict[str, Tensor]:
    return {n: w.detach() for n, w in prunable(read_network(store.artefact(stage), 32)).items()}


def fresh(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {name: weight.detach() for name, weight in prunable(SPEC.build()).items()}


def test_what_stays_is_as_it_was_drawn(store: Store) -> None:
    (payload,) = run(store, EPSD)
    drawn, found = fresh(), weights(store, EPSD)
    for name, weight in found.items():
        torch.testing.assert_close(weight, drawn[name] * (weight != 0), rtol=0, atol=0)
    assert payload["zeros"] == round(0.8 * payload["prunable"])
    assert payload["mask"] == digest(masks_of(read_network(store.artefact(EPSD), 32)))


def test_epsd_with_cross_entropy_is_prospr(store: Store) -> None:
    """Label smoothing of nothing is a self-distillation whose loss is cross-entropy."""
    plain, as_method = run(store, PROSPR, replace(PROSPR, method=LabelSmoothing(smoothing=0.0)))
    assert plain["mask"] == as_method["mask"]


@pytest.mark.parametrize("method", [None, CSKD(), PSKD(), DLB()], ids=["CE", "CS-KD", "PS-KD", "DLB"])
def test_without_inner_steps_it_is_snip_on_the_same_loss(store: Store, method: SelfDistillation | None) -> None:
    ahead = replace(PROSPR, criterion=ProsPr(inner_steps=0), method=method)
    prospr, snip = run(store, ahead, replace(SNIP, method=method))
    assert prospr["mask"] == snip["mask"]


def test_the_loss_it_will_be_trained_with_chooses_other_weights(store: Store) -> None:
    blind, *others = run(store, PROSPR, EPSD, replace(EPSD, method=PSKD()), replace(EPSD, method=DLB()))
    assert len({blind["mask"], *(other["mask"] for other in others)}) == 4
    assert all(other["zeros"] == blind["zeros"] for other in others)


def test_how_far_ps_kd_looks_back_while_scoring_is_a_field(store: Store) -> None:
    """With none of it the loss is cross-entropy; what the method's own alpha is does not matter."""
    epsd = replace(PROSPR, method=PSKD())
    plain, none, some, same = run(
        store, PROSPR, replace(epsd, alpha_at_score=0.0), epsd, replace(epsd, method=PSKD(alpha=0.1))
    )
    assert none["mask"] == plain["mask"] != some["mask"] == same["mask"]


def test_training_begins_with_the_pruned_network_and_keeps_what_is_gone(store: Store) -> None:
    recipe = Recipe(epochs=1, augment=AUGMENT, global_batch=128, batch_per_gpu=64, lr=0.02, engine="ddp")
    trained = Train(network=EPSD, data=DATA, recipe=recipe)
    pruned, found = run(store, EPSD, trained)
    assert found["mask"] == pruned["mask"]
    before, after = weights(store, EPSD), weights(store, trained)
    assert not torch.equal(before["classifier.weight"], after["classifier.weight"])
    still = replace(trained, recipe=replace(recipe, lr=1e-30, weight_decay=0.0))
    run(store, still)
    assert all(torch.equal(before[name], weight) for name, weight in weights(store, still).items())


def test_shuffled_masks_keep_the_layers_and_move_the_weights(store: Store) -> None:
    (payload,) = run(store, SHUFFLED)
    like, found = (masks_of(read_network(store.artefact(stage), 32)) for stage in (EPSD, SHUFFLED))
    assert kept(found) == kept(like) == payload["kept"]
    assert any(not torch.equal(like[name], mask) for name, mask in found.items())


@pytest.mark.parametrize("epsd", [EPSD, SNIP, replace(SNIP, criterion=Random())], ids=["EPSD", "SNIP", "random"])
def test_weights_may_be_drawn_once_more_under_the_same_mask(store: Store, epsd: PruneEarly) -> None:
    redrawn = replace(epsd, start="redrawn")
    one, other = run(store, epsd, redrawn)
    assert one["mask"] == other["mask"]
    before, after = weights(store, epsd), weights(store, redrawn)
    for name, weight in after.items():
        assert not (weight == before[name])[weight != 0].any()
        assert not (weight == fresh(1)[name])[weight != 0].any(), "nor are they those of the next seed"


def test_training_may_begin_where_the_inner_steps_ended(store: Store) -> None:
    """Plain SGD on the first batch, here by torch's own."""
    ahead = replace(PROSPR, start="looked_ahead")
    first, other = run(store, PROSPR, ahead)
    assert first["mask"] == other["mask"]
    torch.manual_seed(0)
    network = SPEC.build().to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    batch = first_batch(store)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(batch.images), batch.labels).backward()
        optimizer.step()
    expected = {name: weight.detach() for name, weight in prunable(network).items()}
    for name, weight in weights(store, ahead).items():
        torch.testing.assert_close(weight, expected[name] * (weight != 0), rtol=1e-4, atol=1e-6)


def first_batch(store: Store) -> Batch:
    """Of seed 0's stream, as it is scored on."""
    recipe = Recipe(epochs=1, augment=AUGMENT, global_batch=64, batch_per_gpu=64)
    context = Context(
        topology=Topology(), device="cpu", folder=store.root, journal=Journal(None), unfinished=store.root / "none"
    )
    with closing(Prepared(store.artefact(DATA)).train_stream(recipe, 0, context).epoch(0)) as batches:
        return next(batches)


def test_a_weight_that_is_zero_by_chance_is_not_taken_for_pruned(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large network is drawn with a few; training must reach them, and masks of the same layers count right."""
    build = VGG.build

    def with_zeros(spec: VGG) -> nn.Module:
        network = build(spec)
        network.get_parameter("features.4.weight").data[0] = 0.0
        return network

    monkeypatch.setattr(VGG, "build", with_zeros)
    kind = replace(SNIP, criterion=Random(), sparsity=0.5, seed=5)
    (payload,) = run(store, kind)
    found = masks_of(read_network(store.artefact(kind), 32))
    assert kept(found) == payload["kept"] and found["features.4.weight"][0].any()


@pytest.mark.parametrize("name", [n for n in plugins.names("self_distillation") if n != "be_your_own_teacher"])
@pytest.mark.parametrize("criterion", [ProsPr(inner_steps=1), SynFlow()], ids=["ProsPr", "SynFlow"])
def test_any_loss_may_score_by_any_criterion(store: Store, name: str, criterion: Criterion) -> None:
    stage = replace(EPSD, criterion=criterion, method=plugins.class_of(f"self_distillation.{name}")())
    (payload,) = run(store, stage)
    assert payload["zeros"] == round(0.8 * payload["prunable"])


@pytest.mark.parametrize("criterion", [ProsPr(inner_steps=1), SynFlow()], ids=["ProsPr", "SynFlow"])
def test_exits_leave_nothing_on_the_network(store: Store, criterion: Criterion) -> None:
    small = ResNet(depth=18, classes=10, widths=(8, 8, 16, 16), stem="cifar", stem_width=8)
    method = BeYourOwnTeacher()
    stage = replace(EPSD, network=small, criterion=criterion, method=method, batch=16)
    channels = PruneChannelsEarly(
        network=small, criterion=criterion, reduction=0.1, method=method, data=DATA, augment=AUGMENT, batch=16
    )
    pruned, smaller = run(store, stage, channels)
    assert pruned["zeros"] == round(0.8 * pruned["prunable"]) and 0 < smaller["reached"]["macs"] < 0.2


def test_synflow_in_many_iterations_empties_no_layer(store: Store) -> None:
    once = replace(SNIP, criterion=SynFlow(), sparsity=0.98)
    one, many = run(store, once, replace(once, iterations=100))
    assert min(many["kept"].values()) > 0 and one["zeros"] == many["zeros"]
    assert one["mask"] != many["mask"]


def test_snip_may_be_iterative(store: Store) -> None:
    one, many = run(store, SNIP, replace(SNIP, iterations=5))
    assert one["zeros"] == many["zeros"] and one["mask"] != many["mask"]
    assert many["image_passes"] == one["image_passes"] + 4 * 64


def test_every_image_that_goes_through_for_a_score_is_counted(store: Store) -> None:
    """Gradient flow is looked at besides, and no part of the method."""
    snip, cskd, prospr = run(store, SNIP, replace(SNIP, method=CSKD()), PROSPR)
    assert snip["image_passes"] == 64
    assert cskd["image_passes"] == 2 * 64, "second images too"
    assert prospr["image_passes"] == (4 + 3) * 64, "four forwards, three of them once more"


def test_gradient_flow_tells_what_is_left_of_the_gradient(store: Store) -> None:
    snip, magnitude = run(store, SNIP, replace(SNIP, criterion=Magnitude(), sparsity=0.98))
    assert 0 < magnitude["gradient_flow"] < 10 and snip["gradient_flow"] > 0
    assert magnitude["gradient_flow"] != snip["gradient_flow"]


def test_scores_see_the_first_images_of_the_seeds_stream(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Batch] = []
    score = Snip.score

    def spy(criterion: Snip, model: Any, batches: Any, objective: Any) -> Any:
        seen.append(next(batches))
        return score(criterion, model, iter(seen[-1:]), objective)

    monkeypatch.setattr(Snip, "score", spy)
    run(store, replace(SNIP, sparsity=0.5), replace(SNIP, sparsity=0.6), replace(SNIP, seed=1))
    one, same, other = seen
    assert torch.equal(one.indices, same.indices) and torch.equal(one.images, same.images)
    assert not torch.equal(one.indices, other.indices)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"sparsity": 1.2}, "sparsity 1.2 is not between 0 and 1"),
        ({"start": "initail"}, "unknown start 'initail' in PruneEarly: did you mean 'initial'?"),
        ({"scope": "2:4", "sparsity": 0.5, "iterations": 2}, "scope '2:4' has one sparsity only"),
        ({"iterations": 0}, "iterations 0 of pruning are none"),
        ({"layers_like": SNIP, "scope": "erk"}, "leave scope and iterations as they are"),
        ({"method": DLB(), "iterations": 5}, "DLB looks back at the update before, and Snip makes none between"),
        ({"criterion": ProsPr(), "iterations": 2}, "ProsPr takes steps of its own, which would move what is gone"),
        ({"start": "looked_ahead"}, "Snip takes no steps of its own, so no weights come of them"),
        ({"alpha_at_score": 1.5}, "alpha_at_score of PruneEarly is 1.5: give it a number from 0 to 1"),
        ({"method": DLB(), "criterion": GraSP()}, "score with ProsPr, or once on one batch"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as refused:
        replace(SNIP, **changes)
    assert line in str(refused.value)
