"""How far predictions are on their way to the uniform distribution, and two ways to send others there."""

import pytest
import torch
from torch import nn

from harness.errors import StageError
from harness.softness import EntropyMatch, Softened, UniformStep

LOGITS = torch.randn(200, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4


def step(q: torch.Tensor, temperature: float = 1.0) -> UniformStep:
    found = UniformStep(temperature, "cpu")
    found.see(LOGITS[:50], q[:50])
    found.see(LOGITS[50:], q[50:])
    return found


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_label_smoothing_is_found_out_to_be_nothing_else(temperature: float) -> None:
    """q = (1 - 0.3) p + 0.3 u: a step of 0.3, all of it along u - p."""
    mixed = Softened(nn.Identity(), divisor=1.0, smoothing=0.3, temperature=temperature)(LOGITS.float()).double()
    found = step(mixed, temperature)
    assert found.smoothing == pytest.approx(0.3, abs=1e-5)
    assert found.share == pytest.approx(1.0, abs=1e-5)


def test_a_step_across_is_none_towards_uniform() -> None:
    """Probability moved evenly between two classes that are not the largest lies at a right angle to u - p."""
    p = torch.tensor([[0.8, 0.1, 0.1]], dtype=torch.float64)
    q = torch.tensor([[0.8, 0.15, 0.05]], dtype=torch.float64)
    found = UniformStep(1.0, "cpu")
    found.see(p.log(), q.log())
    assert found.smoothing == pytest.approx(0.0, abs=1e-12)
    assert found.share == pytest.approx(0.0, abs=1e-12)


def test_a_sharper_teacher_has_no_share_of_it() -> None:
    sharper, softer = step(LOGITS * 1.5), step(LOGITS / 1.5)
    assert sharper.smoothing < 0 and sharper.share == 0
    assert softer.smoothing > 0 and softer.share > 0.5


def test_any_pair_agrees_with_a_slow_reading() -> None:
    q_logits = LOGITS.flip(0) * 0.5
    along = length = explained = whole = 0.0
    for a, b in zip(LOGITS.softmax(1), q_logits.softmax(1), strict=True):
        away, went = [1 / 6 - x for x in a.tolist()], [y - x for x, y in zip(a.tolist(), b.tolist(), strict=True)]
        dot, square = sum(x * y for x, y in zip(went, away, strict=True)), sum(x * x for x in away)
        along, length = along + dot, length + square
        best = dot / square
        whole += sum(x * x for x in went)
        explained += sum((best * x) ** 2 for x in away) if dot > 0 else 0.0
    found = step(q_logits)
    assert found.smoothing == pytest.approx(along / length, abs=1e-12)
    assert found.share == pytest.approx(explained / whole, abs=1e-12)


def test_no_difference_is_no_step() -> None:
    found = step(LOGITS)
    assert (found.smoothing, found.share) == (0.0, 0.0)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divided_logits_have_the_other_ones_entropy(temperature: float) -> None:
    softer = LOGITS.flip(1) / 2.5
    match = EntropyMatch(temperature, "cpu")
    match.see(LOGITS, softer)
    assert match.divisor == pytest.approx(2.5, rel=1e-3)
    network = Softened(nn.Identity(), divisor=match.divisor, smoothing=0.0, temperature=temperature)
    entropies = [torch.distributions.Categorical(logits=z / temperature).entropy().mean() for z in
                 (network(LOGITS.float()).double(), softer)]  # fmt: skip
    torch.testing.assert_close(*entropies, rtol=1e-3, atol=0)


def test_an_entropy_out_of_reach_is_refused() -> None:
    match = EntropyMatch(1.0, "cpu")
    match.see(LOGITS, LOGITS * 1000)
    with pytest.raises(StageError, match="no temperature between"):
        _ = match.divisor


def test_softened_networks_guess_as_before() -> None:
    for changes in ({"divisor": 3.0, "smoothing": 0.0}, {"divisor": 1.0, "smoothing": 0.6}):
        network = Softened(nn.Identity(), temperature=10.0, **changes)
        assert torch.equal(network(LOGITS.float()).argmax(1), LOGITS.argmax(1))
