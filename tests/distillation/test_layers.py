"""What is asked of the layers a feature method compares, and maps of unequal size."""

from typing import Any

import pytest
import torch

from harness.distillation._layers import at_one_size
from harness.distillation.attention_transfer import AttentionTransfer
from harness.distillation.crd import CRD
from harness.distillation.fitnet import FitNet
from harness.distillation.relational_kd import RelationalKD
from harness.distillation.review_kd import ReviewKD
from harness.errors import UserError
from tests.distillation.checks import draw


@pytest.mark.parametrize("method", [FitNet, AttentionTransfer, ReviewKD])
@pytest.mark.parametrize(("student", "teacher"), [(("a",), ("a", "b")), ((), ()), (("a", "a"), ("a", "b"))])
def test_layers_that_make_no_pairs_are_refused(method: Any, student: tuple[str, ...], teacher: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="make no pairs: name as many of both, each once"):
        method(student_layers=student, teacher_layers=teacher)


@pytest.mark.parametrize("method", [RelationalKD, CRD])
@pytest.mark.parametrize("layers", [{"student_layers": ("a", "b")}, {"teacher_layers": ()}])
def test_methods_that_compare_embeddings_take_one_layer(method: Any, layers: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(UserError, match="one layer of each network is compared"):
        method(**layers)


@pytest.mark.parametrize("method", [FitNet(), AttentionTransfer(), ReviewKD()])
def test_methods_that_compare_maps_refuse_vectors(method: Any) -> None:
    with pytest.raises(UserError, match=r"layer 'fc' puts out \(5,\) for an image, no map"):
        method.adapters({"layer1": (3, 4, 4)}, {"fc": (5,)}, 10)


def test_the_larger_maps_are_averaged_down_in_each_direction() -> None:
    one, other = draw(2, 3, 4, 2), draw(2, 5, 2, 2, seed=1)
    small, same = at_one_size(one, other)
    assert same is other
    torch.testing.assert_close(small, (one[:, :, ::2] + one[:, :, 1::2]) / 2)
    assert [maps.shape[2:] for maps in at_one_size(draw(1, 1, 4, 2), draw(1, 1, 2, 6))] == [(2, 2), (2, 2)]
