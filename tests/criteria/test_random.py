"""A user compares with chance."""

import torch
from torch import nn

from harness.criteria.random import Random
from harness.objective import CrossEntropy


def test_scores_are_uniform_draws_from_the_global_generator(perceptron: nn.Sequential) -> None:
    torch.manual_seed(3)
    scores = Random().score(perceptron, [], CrossEntropy())
    torch.manual_seed(3)
    assert torch.equal(scores["1.weight"], torch.rand(5, 12))
    assert torch.equal(scores["3.weight"], torch.rand(3, 5))


def test_a_second_draw_is_another(perceptron: nn.Sequential) -> None:
    first, second = (Random().score(perceptron, [], CrossEntropy()) for _ in range(2))
    assert not torch.equal(first["1.weight"], second["1.weight"])
