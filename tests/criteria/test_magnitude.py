"""A user prunes by magnitude."""

import torch

from harness.criteria.magnitude import Magnitude
from harness.models.vgg import VGG
from harness.objective import CrossEntropy


def test_the_score_is_the_absolute_weight_and_no_second_name_for_it() -> None:
    network = VGG(blocks=((4,),), classes=3).build()
    scores = Magnitude().score(network, [], CrossEntropy())
    weight = network.get_parameter("classifier.weight")
    assert torch.equal(scores["classifier.weight"], weight.abs())
    scores["classifier.weight"].zero_()
    assert weight.count_nonzero() == weight.numel()
