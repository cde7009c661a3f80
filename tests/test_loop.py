"""The training loop does what its recipe says, and goes on from a checkpoint as if nothing had happened."""

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
from harness.data.augment import Augment
from harness.data.prepared import Prepared
from harness.ending import Ending
from harness.errors import Stopped
from harness.journal import Event, Journal
from harness.loop import train
from harness.objective import CrossEntropy
from harness.pruning.mask import hold, masks_of, zeros
from harness.recipe import Recipe

RECIPE = Recipe(
    epochs=2,
    augment=Augment(crop="resized", size=16, min_area=0.5),
    global_batch=256,
    batch_per_gpu=64,
    lr=0.05,
    engine="ddp",
)
"""Five steps an epoch of four micro-batches."""


def network(*, normalised: bool = True) -> nn.Module:
    """With everything that carries state from step to step: weights, running statistics, noise."""
    torch.manual_seed(0)
    norm: list[nn.Module] = [nn.BatchNorm2d(4), nn.Dropout(0.3)] if normalised else []
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), *norm, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)
    )


def pruned() -> nn.Module:
    """Ten weights are gone and held at zero."""
    model = network()
    model[0].weight.data.view(-1)[3:13] = 0.0  # type: ignore[index,union-attr,operator]
    hold(model, {name: mask for name, mask in masks_of(model).items() if not mask.all()})
    return model


class Watched(CrossEntropy):
    """Cross-entropy that shows every batch to a witness first."""

    def __init__(self, witness: Callable[[Tensor, Batch], None]) -> None:
        super().__init__()
        self.witness = witness

    def terms(self, network: Forward, batch: Batch, given: Given) -> dict[str, Tensor]:
        logits = network(batch.images)
        self.witness(logits, batch)
        return super().terms(lambda images: logits, batch, given)


def trained(
    prepared: Prepared, context: Context, witness: Callable[[Tensor, Batch], None] = lambda logits, batch: None,
    model: nn.Module | None = None, **changes: object,
) -> dict[str, Tensor]:  # fmt: skip
    model = model or network()
    train(model, replace(RECIPE, **changes), Watched(witness), prepared, 3, context)  # type: ignore[arg-type]
    return model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


DEEPSPEED: list[dict[str, Any]] = [{"engine": "deepspeed", "zero_stage": stage} for stage in (0, 1, 2)]
SIZES = replace(RECIPE.augment, sizes=((1, 12),))


@pytest.mark.parametrize("calls", [11, 20, 33], ids=["mid-epoch", "an epoch's end", "second epoch"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"ema_decay": 0.8}, {"precision": "bf16"}, {"augment": SIZES}, *DEEPSPEED],
    ids=["plain", "ema", "bf16", "sizes", "zero 0", "zero 1", "zero 2"],
)
def test_interrupted_it_goes_on_bit_for_bit(
    prepared_digits: Prepared,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    calls: int,
    changes: dict[str, Any],
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY", 8)
    undisturbed = trained(prepared_digits, context, model=pruned(), **changes)
    assert zeros(pruned()) == 10
    often = replace(context, checkpoint_s=1e-9)
    seen: list[tuple[int, int]] = []

    def interrupt(logits: Tensor, batch: Batch) -> None:
        seen.append((batch.epoch, batch.position))
        if len(seen) == calls:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(prepared_digits, often, interrupt, pruned(), **changes)
    first, seen = seen, []
    calls = -1
    resumed = pruned()
    assert same(trained(prepared_digits, often, interrupt, resumed, **changes), undisturbed)
    assert zeros(resumed) == 10
    assert seen[0] > (0, 0), "nothing was taken up again"
    assert seen[0] <= first[-1] and seen[-1] == (1, 5 * 256 - 64)


@pytest.mark.parametrize("told_after", [6, 20, 30], ids=["mid-epoch", "an epoch's end", "second epoch"])
def test_told_to_end_it_saves_where_it_is_and_goes_on_bit_for_bit(
    prepared_digits: Prepared, context: Context, monkeypatch: pytest.MonkeyPatch, told_after: int
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY", 4)
    undisturbed = trained(prepared_digits, context)
    told: list[Event] = []
    seen: list[tuple[int, int]] = []
    attempt = replace(context, ending=Ending(), journal=Journal(None, told.append), checkpoint_s=1000.0)

    def end(logits: Tensor, batch: Batch) -> None:
        seen.append((batch.epoch, batch.position))
        if len(seen) == told_after:
            attempt.ending.ask("the time is over")

    with pytest.raises(Stopped, match="the time is over"):
        trained(prepared_digits, attempt, end)
    (saved,) = (event for event in told if event["event"] == "saved")
    assert len(seen) == 4 * saved["updates"], "nothing was trained in vain"
    assert len(seen) - told_after <= 4 + 3, "it ended at the next look"
    again: list[tuple[int, int]] = []
    rest = trained(prepared_digits, context, lambda _, batch: again.append((batch.epoch, batch.position)))
    assert same(rest, undisturbed)
    assert len(seen) + len(again) == 40 and not set(seen) & set(again)


@pytest.mark.parametrize(("seconds", "looks"), [(1e-9, [1, 2, 3, 4, 5]), (1e9, [1, 4])], ids=["slow", "fast"])
def test_looks_at_the_losses_are_not_too_far_apart(
    prepared_digits: Prepared, context: Context, monkeypatch: pytest.MonkeyPatch, seconds: float, looks: list[int]
) -> None:
    """In time, for then it also learns that it has to end; nor closer than needed, for each waits on the device."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", seconds)
    monkeypatch.setattr(watch, "LOOK_EVERY", 12)
    told: list[Event] = []
    trained(prepared_digits, replace(context, journal=Journal(None, told.append)), epochs=1)
    assert [event["updates"] for event in told if event["event"] == "steps"] == looks


def test_averaged_weights_are_the_average_along_the_way(prepared_digits: Prepared, context: Context) -> None:
    model, path = network(), []

    def remember(logits: Tensor, batch: Batch) -> None:
        if batch.position % 256 == 0:
            path.append({name: tensor.clone() for name, tensor in model.named_parameters()})

    path.append(trained(prepared_digits, context, remember, model))
    expected = path[0]
    for weights in path[1:]:
        expected = {name: 0.8 * expected[name] + 0.2 * weights[name] for name in expected}
    averaged = trained(prepared_digits, context, ema_decay=0.8)
    for name, value in expected.items():
        torch.testing.assert_close(averaged[name], value.detach(), rtol=1e-5, atol=1e-6)


def test_accumulated_gradients_are_those_of_the_whole_batch(prepared_digits: Prepared, context: Context) -> None:
    parts = trained(prepared_digits, context, model=network(normalised=False), batch_per_gpu=32)
    whole = trained(prepared_digits, context, model=network(normalised=False), batch_per_gpu=256)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-6)


def test_progressive_resizing_changes_the_side_from_epoch_to_epoch(prepared_digits: Prepared, context: Context) -> None:
    sides: set[tuple[int, int]] = set()
    augment = replace(RECIPE.augment, sizes=((0, 12), (2, 20)))
    trained(prepared_digits, context, lambda _, b: sides.add((b.epoch, b.images.shape[-1])), augment=augment, epochs=3)
    assert sides == {(0, 12), (1, 12), (2, 20)}


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_and_weights_lie_as_the_recipe_says(
    prepared_digits: Prepared, context: Context, channels_last: bool
) -> None:
    model = network()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    told = []

    def look(logits: Tensor, batch: Batch) -> None:
        weight = next(model.parameters())
        told.append(all(t.is_contiguous(memory_format=layout) for t in (batch.images, weight)))

    trained(prepared_digits, context, look, model, channels_last=channels_last, epochs=1)
    assert set(told) == {True}


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_bf16_computes_the_network_in_bf16_and_the_loss_in_fp32(
    prepared_digits: Prepared, context: Context, precision: str, dtype: torch.dtype
) -> None:
    model, losses = network(), set()
    outputs = set()
    model[-1].register_forward_hook(lambda layer, inputs, output: outputs.add(output.dtype))  # type: ignore[index,union-attr]
    trained(prepared_digits, context, lambda logits, _: losses.add(logits.dtype), model, precision=precision, epochs=1)
    assert outputs == {dtype}
    assert losses == {torch.float32}
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
