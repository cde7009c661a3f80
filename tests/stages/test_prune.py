"""Weights that go in rounds, at once, or with layers as another network has them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.checkpoint import Checkpoints, Verdict
from harness.cost import nonzeros
from harness.criteria.magnitude import Magnitude
from harness.criteria.random import Random
from harness.criteria.snip import Snip
from harness.data.augment import Augment
from harness.data.digits import Digits
from harness.errors import UserError
from harness.models.vgg import VGG
from harness.network import read_network
from harness.pruning.allocation import allocated_masks
from harness.pruning.mask import digest, kept, masks_of, prunable
from harness.pruning.n_m import follows_n_m
from harness.recipe import Recipe
from harness.run import run_stages
from harness.spec import Stage
from harness.stages.prepare import Prepare
from harness.stages.prune import Prune, lr_rewinding, shuffled
from harness.stages.prune_gradually import PruneGradually
from harness.stages.retrain import retrained
from harness.stages.student import Student
from harness.stages.train import Train
from harness.store import Store
from harness.topology import Topology

DATA = Prepare(source=Digits())
RECIPE = Recipe(
    epochs=2, augment=Augment(crop="none", size=32), global_batch=256, batch_per_gpu=128, lr=0.02, engine="ddp"
)
SPEC = VGG(blocks=((8,), (12,)), classes=10)
DENSE = Train(network=SPEC, data=DATA, recipe=RECIPE)
COMMON: dict[str, Any] = {"data": DATA, "recipe": RECIPE}
ROUNDS = lr_rewinding(DENSE, rounds=2, criterion=Magnitude(), **COMMON)
EARLY = replace(DENSE, recipe=replace(RECIPE, stop_epoch=1))
REWOUND = lr_rewinding(
    DENSE, rounds=1, criterion=Magnitude(), data=DATA, recipe=replace(RECIPE, first_epoch=1), rewind_to=EARLY
)[0]
STILL = replace(RECIPE, lr=1e-30, weight_decay=0.0)
"""Trains without moving anything."""
AT_ONCE = Prune(network=DENSE, criterion=Magnitude(), sparsity=0.5, data=DATA, recipe=STILL)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run(store, DATA, DENSE, EARLY, *ROUNDS)
    return store


def run(store: Store, *stages: Stage) -> list[dict[str, Any]]:
    run_stages(stages, store, Topology(), data=None, workers=1, listener=lambda stage, event: None)
    return [store.manifest(stage)["payload"] for stage in stages]


def weights(store: Store, stage: Stage) -> dict[str, Tensor]:
    return {n: w.detach() for n, w in prunable(read_network(store.artefact(stage), 32)).items()}


def test_two_four_and_seven_rounds_reach_36_59_and_79_percent() -> None:
    rounds = lr_rewinding(DENSE, rounds=7, criterion=Magnitude(), **COMMON)
    assert [rounds[n - 1].sparsity for n in (1, 2, 4, 7)] == [0.2, 0.36, 0.5904, 0.7902848]


def test_more_rounds_contain_fewer() -> None:
    four = lr_rewinding(DENSE, rounds=4, criterion=Magnitude(), **COMMON)
    assert [stage.key for stage in four[:2]] == [stage.key for stage in ROUNDS]
    assert ROUNDS[0].network == DENSE


def test_a_mask_can_be_checked_from_the_file(store: Store) -> None:
    payload = store.manifest(ROUNDS[1])["payload"]
    masks = masks_of(read_network(store.artefact(ROUNDS[1]), 32))
    total = sum(mask.numel() for mask in masks.values())
    assert payload["mask"] == digest(masks) and payload["kept"] == kept(masks)
    assert payload["zeros"] == round(0.36 * total) == total - sum(kept(masks).values())
    earlier = masks_of(read_network(store.artefact(ROUNDS[0]), 32))
    assert all((mask <= earlier[name]).all() for name, mask in masks.items()), "what is gone stays gone"


def test_rewound_weights_are_those_of_the_early_network(store: Store) -> None:
    still = replace(REWOUND, recipe=replace(STILL, first_epoch=1))
    run(store, still)
    early, late, found = (weights(store, stage) for stage in (EARLY, DENSE, still))
    for name, weight in found.items():
        torch.testing.assert_close(weight, early[name] * (weight != 0), rtol=0, atol=0)
    assert not torch.equal(early["classifier.weight"], late["classifier.weight"])
    assert sum(int((w == 0).sum()) for w in found.values()) == round(0.2 * sum(w.numel() for w in found.values()))


def test_rewound_training_begins_at_its_epoch(store: Store) -> None:
    (payload,) = run(store, REWOUND)
    assert len(payload["losses"]) == 1
    assert payload["image_passes"] == 1 * 1280


def test_layers_like_another_network_but_other_weights(store: Store) -> None:
    others = shuffled(ROUNDS, Random())
    run(store, *others)
    like, found = (masks_of(read_network(store.artefact(stage), 32)) for stage in (ROUNDS[1], others[1]))
    assert kept(found) == kept(like)
    total, both = 0, 0.0
    for name, mask in like.items():
        density = int(mask.count_nonzero()) / mask.numel()
        total, both = total + int((mask & found[name]).count_nonzero()), both + density**2 * mask.numel()
    assert total == pytest.approx(both, rel=0.05), "in both masks by chance, and no more"
    assert others[0].network == DENSE and others[1].network == others[0]


@pytest.mark.parametrize("scope", ["layer", "uniform", "erk"])
def test_scopes_differ_in_layers_and_agree_in_all(store: Store, scope: Any) -> None:
    glob, other = run(store, AT_ONCE, replace(AT_ONCE, scope=scope))
    assert glob["zeros"] == other["zeros"]
    assert glob["kept"] != other["kept"]


def test_two_of_four_neighbours_stay(store: Store) -> None:
    stage = replace(AT_ONCE, scope="2:4")
    run(store, stage)
    found = weights(store, stage)
    assert follows_n_m(found["features.4.weight"], 2, 4)
    assert found["features.0.weight"].all(), "three colours do not divide by four"
    assert not follows_n_m(weights(store, AT_ONCE)["features.4.weight"], 2, 4)


def test_a_criterion_may_look_at_images(store: Store) -> None:
    stage = replace(AT_ONCE, criterion=Snip())
    snip, magnitude = run(store, stage, AT_ONCE)
    assert snip["zeros"] == magnitude["zeros"] and snip["mask"] != magnitude["mask"]


def test_gradually_it_ends_at_the_same_sparsity(store: Store) -> None:
    (payload,) = run(
        store, PruneGradually(network=DENSE, criterion=Magnitude(), sparsity=0.7, every=2, data=DATA, recipe=RECIPE)
    )
    assert payload["zeros"] == round(0.7 * payload["prunable"])


def test_trained_on_as_long_it_stays_dense(store: Store) -> None:
    longer = retrained(DENSE, rounds=2, **COMMON)
    payloads = run(store, *longer.inputs()[:1], longer)
    assert payloads[1]["zeros"] == 0
    assert [p["image_passes"] for p in payloads] == [2560, 2560]


def test_a_student_is_formed_from_any_pruned_network(store: Store) -> None:
    gradual = PruneGradually(network=DENSE, criterion=Magnitude(), sparsity=0.7, every=2, data=DATA, recipe=RECIPE)
    _, payload = run(store, gradual, Student(like=gradual))
    assert payload["teacher_nonzeros"] == nonzeros(read_network(store.artefact(gradual), 32))


def test_the_next_attempt_keeps_what_the_first_decided(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores may differ in a tie the next time; the checkpoint has trained with the first mask."""
    stage = replace(AT_ONCE, criterion=Random(), recipe=replace(RECIPE, lr=0.01))
    chosen: list[dict[str, Tensor]] = []
    score, save = Random.score, Checkpoints.save

    def noisy(*arguments: Any) -> dict[str, Tensor]:
        torch.manual_seed(len(chosen))
        chosen.append(score(*arguments))
        return chosen[-1]

    def save_and_die(*arguments: Any) -> None:
        save(*arguments)
        arguments[0].finish()
        raise KeyboardInterrupt

    monkeypatch.setattr(Random, "score", noisy)
    monkeypatch.setattr(Checkpoints, "verdict", lambda checkpoints: Verdict.SAVE)
    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        run(store, stage)
    monkeypatch.setattr(Checkpoints, "save", save)
    (payload,) = run(store, stage)
    first = allocated_masks(chosen[0], 0.5, "global")
    assert payload["mask"] == digest(first) == digest(masks_of(read_network(store.artefact(stage), 32)))
    assert len(chosen) == 1, "and it is not even asked again"


def test_a_layer_that_begins_at_zero_is_not_pruned(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some architectures begin with whole layers at 0: they are to be trained."""
    build = VGG.build

    def with_zeros(spec: VGG) -> nn.Module:
        network = build(spec)
        nn.init.zeros_(network.features[4].weight)  # type: ignore[index,union-attr,arg-type]
        return network

    monkeypatch.setattr(VGG, "build", with_zeros)
    stage = replace(DENSE, recipe=replace(RECIPE, epochs=1, lr=0.05), seed=7)
    (payload,) = run(store, stage)
    assert payload["zeros"] == 0
    assert weights(store, stage)["features.4.weight"].count_nonzero() > 0


def test_rewinding_to_another_architecture_is_refused(store: Store) -> None:
    other = replace(EARLY, network=VGG(blocks=((8,), (8,)), classes=10))
    run(store, other)
    with pytest.raises(UserError, match="rewind_to is a network of another architecture"):
        run(store, replace(REWOUND, rewind_to=other))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rewind_to": EARLY}, "first_epoch must be 1"),
        ({"sparsity": 1.2}, "sparsity 1.2 is not between 0 and 1"),
        ({"scope": "globe"}, "unknown scope 'globe' in Prune: did you mean 'global'?"),
        ({"scope": "2:4", "sparsity": 0.8}, "scope '2:4' removes 0.5 of the weights, not 0.8"),
        ({"layers_like": DENSE, "scope": "erk"}, "leave scope as it is"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as refused:
        replace(AT_ONCE, **changes)
    assert line in str(refused.value)
