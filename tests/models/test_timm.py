"""A user names networks of timm; their published weights are in `tests/stages/test_pretrained.py`."""

import pytest
import torch

from harness.errors import UserError
from harness.models.timm import Timm


def test_a_vision_transformer_is_built_for_the_size_of_its_images() -> None:
    small, usual = (Timm("test_vit", classes=3, image_size=size).build() for size in (32, None))
    assert small(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    assert usual(torch.randn(2, 3, 160, 160)).shape == (2, 3)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (Timm("resnet8", classes=3), "timm has no network 'resnet8': did you mean '"),
        (Timm("qqqq", classes=3), r"timm has no network 'qqqq': timm.list_models\(\) names them"),
        (Timm("test_vit.r160_in1k", classes=3), "did you mean 'test_vit'"),
        (Timm("test_resnet", classes=3, image_size=32), "takes no image_size: leave it out"),
    ],
)
def test_what_does_not_exist_is_refused_when_it_is_built(spec: Timm, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        spec.build()
