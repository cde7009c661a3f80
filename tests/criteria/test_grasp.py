"""A user prunes at initialisation so that gradients keep flowing."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from harness.batch import Batch, Mates
from harness.contracts import Forward
from harness.criteria.grasp import GraSP
from harness.errors import UserError
from harness.objective import CrossEntropy
from harness.pruning.mask import prunable
from tests.criteria import by_hand


class Whispers:
    """Learns what the network says of the images in another order, which it is asked for as a constant."""

    mates: Mates = "none"
    learned = None
    asked = 0

    @torch.no_grad()
    def given(self, network: Forward, batch: Batch) -> Tensor:
        self.asked += 1
        return network(batch.images.flip(0)).softmax(1)

    def terms(self, network: Forward, batch: Batch, given: Tensor) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(network(batch.images), given)}

    def end_step(self) -> None:
        raise AssertionError("no step is taken")


def summed_loss(network: Forward, batches: list[Batch], temperature: float) -> Tensor:
    losses = [F.cross_entropy(network(batch.images) / temperature, batch.labels) for batch in batches]
    return torch.stack(losses).sum()


def flow(network: nn.Module, batches: list[Batch], temperature: float) -> Tensor:
    """|g|^2 / 2, g the gradient of the summed losses with respect to the prunable weights."""
    with torch.enable_grad():
        slopes = torch.autograd.grad(summed_loss(network, batches, temperature), list(prunable(network).values()))
    return torch.stack([(slope**2).sum() for slope in slopes]).sum() / 2


def assert_weight_times_hessian_times_gradient(scores: dict[str, Tensor], network: nn.Module, loss: Tensor) -> None:
    """In one graph, at the draws of `loss`."""
    weights = prunable(network)
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    products = torch.autograd.grad(slopes, list(weights.values()), [slope.detach() for slope in slopes])
    for (name, weight), product in zip(weights.items(), products, strict=True):
        torch.testing.assert_close(scores[name], weight.detach() * product, rtol=1e-9, atol=1e-18)


def test_the_score_is_the_weight_times_the_hessian_times_the_gradient(
    smooth: nn.Sequential, batches: list[Batch]
) -> None:
    weights = {name: weight.detach() for name, weight in prunable(smooth).items()}
    sizes, shapes = [w.numel() for w in weights.values()], [w.shape for w in weights.values()]

    def loss(flat: Tensor) -> Tensor:
        parts = [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]
        at = dict(zip(weights, parts, strict=True))
        return summed_loss(lambda images: functional_call(smooth, at, (images,)), batches, 200)

    flat = torch.cat([weight.flatten() for weight in weights.values()])
    expected = flat * (torch.func.hessian(loss)(flat) @ torch.func.grad(loss)(flat))
    scores = GraSP().score(smooth, batches, CrossEntropy())
    torch.testing.assert_close(torch.cat([s.flatten() for s in scores.values()]), expected, rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_it_is_the_change_of_the_gradient_flow_as_a_connection_fades(
    smooth: nn.Sequential, batches: list[Batch], temperature: float
) -> None:
    scores = GraSP(temperature=temperature).score(smooth, batches, CrossEntropy())
    for name, position, change in by_hand.sensitivities(smooth, lambda: flow(smooth, batches, temperature)):
        assert by_hand.at(scores, name, position) == pytest.approx(change, rel=1e-6)


def test_batch_normalisation_takes_the_statistics_of_the_batch(convnet: nn.Sequential, batches: list[Batch]) -> None:
    scores = GraSP().score(convnet.eval(), batches, CrossEntropy())
    convnet.train()
    for name, position, change in by_hand.sensitivities(convnet, lambda: flow(convnet, batches, 200)):
        assert by_hand.at(scores, name, position) == pytest.approx(change, rel=1e-5)


def test_what_is_given_for_a_batch_is_asked_for_once(smooth: nn.Sequential, batches: list[Batch]) -> None:
    objective = Whispers()
    scores = GraSP(temperature=2.0).score(smooth, batches[:1], objective)
    assert objective.asked == 1
    images = batches[0].images
    said = (smooth(images.flip(0)) / 2).softmax(1).detach()
    assert_weight_times_hessian_times_gradient(scores, smooth, F.cross_entropy(smooth(images) / 2, said))


def test_gradient_and_curvature_are_those_of_one_draw(dropping: nn.Sequential, batches: list[Batch]) -> None:
    torch.manual_seed(5)
    scores = GraSP().score(dropping, batches, CrossEntropy())
    torch.manual_seed(5)
    assert_weight_times_hessian_times_gradient(scores, dropping, summed_loss(dropping, batches, 200))


def test_ten_batches_are_looked_at(smooth: nn.Sequential, batches: list[Batch]) -> None:
    def stream() -> Iterator[Batch]:
        yield from itertools.islice(itertools.cycle(batches), 10)
        raise AssertionError("an eleventh batch was asked for")

    assert all(score.any() for score in GraSP().score(smooth, stream(), CrossEntropy()).values())


def test_without_a_temperature_there_is_no_spec() -> None:
    with pytest.raises(UserError, match=r"temperature of GraSP is 0\.0"):
        GraSP(temperature=0.0)
