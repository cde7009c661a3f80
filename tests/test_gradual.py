"""Weights go while training runs: along the cubic curve, for good, in every engine."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import watch
from harness.batch import Batch
from harness.context import Context
from harness.contracts import Forward, Given
from harness.criteria.magnitude import Magnitude
from harness.data.augment import Augment
from harness.data.prepared import Prepared
from harness.gradual import Gradual
from harness.loop import train
from harness.objective import CrossEntropy
from harness.pruning.mask import Masks, all_kept, prunable, zeros
from harness.pruning.threshold import global_masks
from harness.recipe import Recipe

RECIPE = Recipe(
    epochs=2, augment=Augment(crop="none", size=32), global_batch=256, batch_per_gpu=256, lr=0.05, engine="ddp"
)
"""Five updates an epoch."""
ENGINES: list[dict[str, Any]] = [{}, *({"engine": "deepspeed", "zero_stage": stage} for stage in (0, 1, 2))]


class Witness(CrossEntropy):
    """Shows a network's zeros before each of its updates."""

    def __init__(self, network: nn.Module, calls: int = -1) -> None:
        super().__init__()
        self.network, self.calls, self.zeros = network, calls, [0][:0]

    def terms(self, network: Forward, batch: Batch, given: Given) -> dict[str, Tensor]:
        self.zeros.append(zeros(self.network))
        if len(self.zeros) == self.calls:
            raise KeyboardInterrupt
        return super().terms(network, batch, given)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(900, 10))


def plan(model: nn.Module, **changes: Any) -> Gradual:
    def choose(sparsity: float, masks: Masks, update: int) -> Masks:
        return global_masks(Magnitude().score(model, (), CrossEntropy()), sparsity, masks)

    return replace(Gradual(model, all_kept(model), choose, 0.8, begin=1, end=7, every=2), **changes)


def run(
    data: Prepared, context: Context, calls: int = -1, find: Callable[[nn.Module], Gradual] = plan, **changes: Any
) -> tuple[nn.Module, list[int]]:
    model = network()
    witness = Witness(model, calls)
    train(model, replace(RECIPE, **changes), witness, data, 0, context, find(model))
    return model, witness.zeros


@pytest.mark.parametrize("changes", [*ENGINES, {"ema_decay": 0.5}], ids=["ddp", "zero 0", "zero 1", "zero 2", "ema"])
def test_the_sparsity_rises_along_the_curve_and_stays(
    prepared_digits: Prepared, context: Context, changes: dict[str, Any]
) -> None:
    model, seen = run(prepared_digits, context, **changes)
    total = sum(weight.numel() for weight in prunable(model).values())
    curve = [0.8 * (1 - (1 - t / 6) ** 3) for t in (0, 2, 4, 6)]
    expected = [round(curve[max(0, min(update - 1, 6)) // 2] * total) for update in range(10)]
    assert seen == expected
    assert zeros(model) == round(0.8 * total)


def test_a_pruned_network_goes_on_from_where_it_is() -> None:
    half = plan(network(), start={"weight": torch.arange(10) < 5})
    assert half.sparsity_at(1) == pytest.approx(0.5) and half.sparsity_at(7) == 0.8
    assert [update for update in range(10) if half.due(update)] == [1, 3, 5, 7]
    assert [update for update in range(10) if replace(half, every=4).due(update)] == [1, 5, 7], (
        "the end is never missed"
    )


@pytest.mark.parametrize("changes", ENGINES, ids=["ddp", "zero 0", "zero 1", "zero 2"])
def test_interrupted_half_way_it_ends_with_the_same_network(
    prepared_digits: Prepared, context: Context, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY", 1)
    undisturbed, whole = run(prepared_digits, context, **changes)
    often = replace(context, checkpoint_s=1e-9)
    with pytest.raises(KeyboardInterrupt):
        run(prepared_digits, often, calls=7, **changes)
    resumed, rest = run(prepared_digits, often, **changes)
    assert 0 < len(rest) < 10 and rest == whole[-len(rest) :]
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])
