"""CS-KD against the paper's equation, class by class in float64."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.batch import Batch
from harness.divergence import softened_kl
from harness.errors import StageError
from harness.objective import SelfDistilled
from harness.self_distillation.cs_kd import CSKD
from tests.distillation.checks import BATCH, CLASSES, COUNT, LABELS, draw, logits, require_slope
from tests.self_distillation.checks import COURSE, cross_entropy, divergence, one_hot, saying, terms

MATES = Batch(draw(COUNT, 3, 1, 1, seed=2), LABELS, torch.arange(COUNT))
PAIRED = replace(BATCH, images=draw(COUNT, 3, 1, 1, seed=1), mates=MATES)


@pytest.mark.parametrize(("temperature", "weight"), [(4.0, 1.0), (4.0, 3.0), (1.0, 0.5)])
def test_both_terms_equal_the_formula(temperature: float, weight: float) -> None:
    found = terms(CSKD(temperature=temperature, weight=weight), logits(0), PAIRED, logits(1))
    expected = weight * temperature**2 * divergence(logits(1), logits(0), temperature)
    assert list(found) == ["ce", "mates"]
    assert found["ce"].item() == pytest.approx(cross_entropy(logits(0), one_hot()), rel=1e-9)
    assert found["mates"].item() == pytest.approx(expected, rel=1e-9)


def test_the_gradient_equals_finite_differences() -> None:
    require_slope(lambda said: terms(CSKD(), said, PAIRED, logits(1))["mates"], logits(0))


def test_the_mates_speak_at_the_same_weights_and_learn_nothing() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, CLASSES)).double()
    objective = SelfDistilled(CSKD(), network, COURSE)
    given = objective.given(network, PAIRED)
    assert torch.equal(given, network(MATES.images).detach())
    assert not given.requires_grad
    objective.terms(network, PAIRED, given)["mates"].backward()
    found = [parameter.grad for parameter in network.parameters()]
    network.zero_grad()
    (4**2 * softened_kl(network(PAIRED.images), given.clone(), temperature=4)).backward()
    for parameter, gradient in zip(network.parameters(), found, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_a_batch_without_mates_is_refused() -> None:
    with pytest.raises(StageError, match="without second images of its classes"):
        CSKD().given(saying(logits()), BATCH, None)


def test_the_defaults_are_the_papers_for_cifar_100() -> None:
    assert (CSKD().temperature, CSKD().weight) == (4, 1)
