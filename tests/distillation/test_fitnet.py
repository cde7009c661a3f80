"""Hints against the formula, written out in float64."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.distillation.fitnet import FitNet
from tests.distillation.checks import BATCH, COUNT, draw, outputs, require_slope

STUDENT, TEACHER = draw(COUNT, 3, 4, 4), draw(COUNT, 5, 2, 2, seed=1)
METHOD = FitNet(student_layers=("0",), teacher_layers=("0",))


@pytest.fixture
def adapters() -> nn.Module:
    torch.manual_seed(0)
    return METHOD.adapters({"0": (3, 4, 4)}, {"0": (5, 2, 2)}, 100).double()


def hint(student: Tensor, teacher: Tensor, adapters: nn.Module) -> Tensor:
    return METHOD.terms(outputs(student), outputs(teacher), BATCH, adapters)["hint"]


def test_the_defaults_are_those_of_the_comparison_on_cifar() -> None:
    assert (FitNet().feature_weight, FitNet().ce_weight, FitNet().student_layers) == (100, 1, ("layer2",))


def test_the_hint_is_the_mean_squared_error_of_the_regressed_maps(adapters: nn.Module) -> None:
    weight, bias = (tensor.detach().numpy() for tensor in adapters.parameters())
    regressed = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], STUDENT.numpy()) + bias[:, None, None]
    halves = regressed.reshape(COUNT, 5, 2, 2, 2, 2).mean(axis=(3, 5))
    expected = 100 * np.mean((halves - TEACHER.numpy()) ** 2)
    assert hint(STUDENT, TEACHER, adapters).item() == pytest.approx(expected, rel=1e-9)


def test_several_hints_add_up() -> None:
    method = FitNet(student_layers=("0", "1"), teacher_layers=("0", "1"))
    adapters = nn.ModuleList([nn.Identity(), nn.Identity()])
    same = draw(COUNT, 4, 2, 2)
    student, teacher = outputs(TEACHER, same), outputs(2 * TEACHER, same)
    first = method.terms(student, teacher, BATCH, adapters)["hint"]
    second = method.terms(outputs(same, TEACHER), outputs(same, 2 * TEACHER), BATCH, adapters)["hint"]
    torch.testing.assert_close(first, 100 * TEACHER.square().mean())
    torch.testing.assert_close(second, first)


def test_the_gradient_equals_finite_differences_for_student_and_regressor(adapters: nn.Module) -> None:
    require_slope(lambda student: hint(student, TEACHER, adapters), STUDENT)
    (regressor,) = adapters.children()
    assert isinstance(regressor, nn.Conv2d)
    bias, weight = regressor.bias, regressor.weight.detach()
    assert bias is not None

    class Given(nn.Module):
        def __init__(self, weight: Tensor) -> None:
            super().__init__()
            self.given = weight

        def forward(self, maps: Tensor) -> Tensor:
            return nn.functional.conv2d(maps, self.given, bias)

    require_slope(lambda given: hint(STUDENT, TEACHER, nn.ModuleList([Given(given)])), weight)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn_but_the_identity() -> None:
    assert hint(STUDENT, STUDENT, nn.ModuleList([nn.Identity()])).item() == 0
