"""A user names networks of torchvision; their published weights are in `tests/stages/test_pretrained.py`."""

import pytest

from harness.cost import parameters
from harness.errors import UserError
from harness.models.torchvision import Torchvision


def test_mobilenet_v2_has_torchvisions_number_of_parameters() -> None:
    assert parameters(Torchvision("mobilenet_v2", classes=1000).build()) == 3_504_872


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("resnet51", "torchvision has no classification network 'resnet51': did you mean '"),
        ("fcn_resnet50", "torchvision has no classification network 'fcn_resnet50'"),
        ("ResNet50", "did you mean 'resnet50'"),
        ("googlenet", "puts out auxiliary logits in training"),
        ("inception_v3", "puts out auxiliary logits in training"),
        ("mnasnet1_0", "loads weights from torch's own files only"),
    ],
)
def test_what_does_not_exist_is_refused_when_it_is_built(name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Torchvision(name, classes=3).build()
