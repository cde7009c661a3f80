"""Knowledge review: the fusion layer by layer, and the hierarchical loss, in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.distillation.review_kd import ReviewKD, hierarchical_context
from tests.distillation.checks import BATCH, COUNT, draw, outputs, require_slope

METHOD = ReviewKD(student_layers=("0", "1", "2"), teacher_layers=("0", "1", "2"))
MINE, THEIRS = ((3, 8, 8), (4, 4, 4), (6, 1, 1)), ((5, 8, 8), (7, 4, 4), (8, 1, 1))
STUDENT = [draw(COUNT, *shape, seed=number) for number, shape in enumerate(MINE)]
TEACHER = [draw(COUNT, *shape, seed=9 + number) for number, shape in enumerate(THEIRS)]


@pytest.fixture
def adapters() -> nn.Module:
    torch.manual_seed(0)
    student, teacher = ({str(n): shape for n, shape in enumerate(side)} for side in (MINE, THEIRS))
    return METHOD.adapters(student, teacher, 100).double()


def by_numpy(student: np.ndarray, teacher: np.ndarray) -> float:
    """Levels of 8, 4, 2 and 1 cells a side, or of 4, 2 and 1, count 1, 1/2, 1/4 and so on."""
    levels, total = [], 0.0
    sides = [side for side in (8, 4, 2, 1) if side <= student.shape[2]]
    for weight, side in zip((1, 1 / 2, 1 / 4, 1 / 8), sides, strict=False):
        cell = student.shape[2] // side
        shape = (*student.shape[:2], side, cell, side, cell)
        one, other = (maps.reshape(shape).mean(axis=(3, 5)) for maps in (student, teacher))
        levels.append(weight * np.mean((one - other) ** 2))
        total += weight
    return sum(levels) / total


def test_the_defaults_are_those_for_imagenet() -> None:
    assert (ReviewKD().feature_weight, ReviewKD().ce_weight, ReviewKD().warmup_epochs) == (1, 1, 0)


@pytest.mark.parametrize("side", [8, 4, 2])
def test_the_hierarchical_loss_equals_the_formula(side: int) -> None:
    one, other = draw(COUNT, 3, side, side), draw(COUNT, 3, side, side, seed=1)
    assert float(hierarchical_context(one, other)) == pytest.approx(by_numpy(one.numpy(), other.numpy()), rel=1e-9)


def test_maps_of_one_cell_have_one_level() -> None:
    one, other = draw(COUNT, 3, 1, 1), draw(COUNT, 3, 1, 1, seed=1)
    torch.testing.assert_close(hierarchical_context(one, other), (one - other).square().mean())


def test_each_layer_is_fused_with_the_later_ones(adapters: nn.Module) -> None:
    """Written out for the three layers, on the weights of the module's own convolutions."""
    part = dict(adapters.named_modules())

    def grown(maps: Tensor, side: int) -> Tensor:
        times = side // maps.shape[2]
        return maps.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)

    def fused(layer: int, later: Tensor) -> Tensor:
        entered = part[f"enter.{layer}"](STUDENT[layer])
        later = grown(later, entered.shape[2])
        gates = torch.sigmoid(part[f"attend.{layer}"](torch.cat([entered, later], dim=1)))
        return entered * gates[:, 0].unsqueeze(1) + later * gates[:, 1].unsqueeze(1)

    third = part["enter.2"](STUDENT[2])
    second = fused(1, third)
    first = fused(0, second)
    compared = [part[f"leave.{n}"](maps) for n, maps in enumerate((first, second, third))]
    expected = sum(hierarchical_context(mine, theirs) for mine, theirs in zip(compared, TEACHER, strict=True))
    found = METHOD.terms(outputs(*STUDENT), outputs(*TEACHER), BATCH, adapters)["review"]
    torch.testing.assert_close(found, expected)
    assert [maps.shape[1:] for maps in compared] == list(THEIRS)


def test_a_teacher_of_other_sizes_is_met_at_its_own(adapters: nn.Module) -> None:
    small = [maps[:, :, ::2, ::2] for maps in TEACHER]
    assert METHOD.terms(outputs(*STUDENT), outputs(*small), BATCH, adapters)["review"].isfinite()


def test_the_gradient_equals_finite_differences(adapters: nn.Module) -> None:
    adapters.eval()  # one image at a time, or the slope would be that of BatchNorm's statistics
    for layer in range(3):

        def review(features: Tensor, layer: int = layer) -> Tensor:
            student = [features if n == layer else maps[:2] for n, maps in enumerate(STUDENT)]
            teacher = [maps[:2] for maps in TEACHER]
            found = METHOD.terms(outputs(*student), outputs(*teacher), BATCH, adapters)
            return found["review"]

        require_slope(review, STUDENT[layer][:2])


def test_the_weight_of_the_features_rises_over_the_warm_up_with_epochs_counted_from_zero(adapters: nn.Module) -> None:
    def review(warmup: int, epoch: int) -> float:
        method, batch = replace(METHOD, warmup_epochs=warmup, feature_weight=3), replace(BATCH, epoch=epoch)
        return method.terms(outputs(*STUDENT), outputs(*TEACHER), batch, adapters)["review"].item()

    full = review(0, 0)
    shares = [review(4, epoch) / full for epoch in (0, 1, 3, 4, 9)]
    assert shares == pytest.approx([0, 0.25, 0.75, 1, 1])
    alone = METHOD.terms(outputs(*STUDENT), outputs(*TEACHER), BATCH, adapters)["review"]
    assert full == pytest.approx(3 * alone.item())
