"""The epoch that is published may be the one that does best on images set aside."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from harness import watch
from harness.batch import Batch
from harness.context import Context
from harness.contracts import Forward, Given
from harness.data.augment import Augment
from harness.data.prepared import Prepared
from harness.errors import UserError
from harness.loop import train
from harness.metrics import correct
from harness.objective import CrossEntropy
from harness.recipe import Recipe

RECIPE = Recipe(
    epochs=4,
    augment=Augment(crop="none", size=32),
    global_batch=256,
    batch_per_gpu=128,
    lr=0.3,
    milestones=(),
    weight_decay=0.05,
    engine="ddp",
    keep="best",
)
"""A rate so high that epochs go up and down."""


class Dying(CrossEntropy):
    """Cross-entropy that ends the process, as it were, at its n-th call."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def terms(self, network: Forward, batch: Batch, given: Given) -> dict[str, Tensor]:
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt
        return super().terms(network, batch, given)


def trained(data: Prepared, context: Context, calls: int = -1, **changes: object) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(900, 10))
    train(network, replace(RECIPE, **changes), Dying(calls), data, 0, context)  # type: ignore[arg-type]
    return network.eval()


def minival_hits(network: nn.Module, data: Prepared, context: Context) -> int:
    with torch.no_grad():
        batches = data.eval_stream("minival", 32, 1.0, 100, context)
        return sum(int(correct(network(batch.images), batch.labels, (1,))) for batch in batches)


def test_the_best_of_all_epochs_is_kept(prepared_with_minival: Prepared, context: Context) -> None:
    best = trained(prepared_with_minival, context)
    epochs = [trained(prepared_with_minival, context, keep="last", stop_epoch=stop) for stop in (1, 2, 3, 4)]
    hits = [minival_hits(network, prepared_with_minival, context) for network in epochs]
    assert hits[-1] < max(hits), f"the last epoch is the best, so this shows nothing: {hits}"
    chosen = epochs[hits.index(max(hits))].state_dict()
    assert all(torch.equal(tensor, chosen[name]) for name, tensor in best.state_dict().items())


def test_interrupted_it_still_knows_the_best_epoch(
    prepared_with_minival: Prepared, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY", 2)
    undisturbed = trained(prepared_with_minival, context).state_dict()
    often = replace(context, checkpoint_s=1e-9)
    with pytest.raises(KeyboardInterrupt):
        trained(prepared_with_minival, often, calls=30)
    resumed = trained(prepared_with_minival, often).state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in undisturbed.items())


def test_without_a_minival_there_is_nothing_to_choose_on(prepared_digits: Prepared, context: Context) -> None:
    with pytest.raises(UserError, match=r"digits has no minival to choose an epoch on: prepare it with minival"):
        trained(prepared_digits, context)


def test_a_recipe_that_cannot_choose_is_refused() -> None:
    with pytest.raises(UserError, match="ema_decay must be 0"):
        replace(RECIPE, ema_decay=0.9)
    with pytest.raises(UserError, match=r"from epoch 3 to 2 does not lie in 0 \.\. 4"):
        replace(RECIPE, first_epoch=3, stop_epoch=2)
