"""Gradients are taken without a trace, whatever happens on the way."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.contracts import Forward, Given
from harness.gradients import gradient, hessian_vector_product, in_mode, network_at, summed_gradients
from harness.objective import CrossEntropy, loss
from harness.pruning import mask

cross_entropy = partial(loss, CrossEntropy())


class TwoTerms(CrossEntropy):
    """Cross-entropy in two halves."""

    def terms(self, network: Forward, batch: Batch, given: Given) -> dict[str, Tensor]:
        half = super().terms(network, batch, given)["ce"] / 2
        return {"one": half, "other": half}


def test_gradients_of_all_batches_add_up(convnet: nn.Sequential, batches: list[Batch]) -> None:
    both = summed_gradients(convnet, batches, cross_entropy, training=False)
    alone = [summed_gradients(convnet, [batch], cross_entropy, training=False) for batch in batches]
    for name in both:
        torch.testing.assert_close(both[name], alone[0][name] + alone[1][name])


def test_the_loss_is_the_sum_of_its_terms(convnet: nn.Sequential, batches: list[Batch]) -> None:
    halves = summed_gradients(convnet, batches, partial(loss, TwoTerms()), training=False)
    whole = summed_gradients(convnet, batches, cross_entropy, training=False)
    assert all(torch.allclose(halves[name], whole[name]) for name in whole)


def test_a_held_weight_shows_its_gradient(convnet: nn.Sequential, batches: list[Batch]) -> None:
    before = summed_gradients(convnet, batches, cross_entropy, training=False)
    mask.hold(convnet, {name: torch.zeros_like(score, dtype=torch.bool) for name, score in before.items()})
    after = summed_gradients(convnet, batches, cross_entropy, training=False)
    assert all(torch.equal(before[name], after[name]) and before[name].any() for name in before)


def test_a_layer_that_takes_no_part_has_gradient_zero(convnet: nn.Sequential, batches: list[Batch]) -> None:
    convnet[2].add_module("unused", nn.Linear(2, 2))
    gradients = summed_gradients(convnet, batches, cross_entropy, training=False)
    assert gradients["2.unused.weight"].tolist() == [[0, 0], [0, 0]]


def test_it_works_where_gradients_are_switched_off(convnet: nn.Sequential, batches: list[Batch]) -> None:
    with torch.no_grad():
        gradients = summed_gradients(convnet, batches, cross_entropy, training=False)
    assert all(gradient.any() for gradient in gradients.values())


def test_a_failure_leaves_the_network_as_it_was(convnet: nn.Sequential, batches: list[Batch]) -> None:
    before = {name: tensor.clone() for name, tensor in convnet.state_dict().items()}
    parameters = list(convnet.parameters())

    def fails(network: Forward, batch: Batch) -> Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        summed_gradients(convnet.eval(), batches, fails, training=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in convnet.state_dict().items())
    assert all(a is b for a, b in zip(convnet.parameters(), parameters, strict=True))
    assert not any(module.training for module in convnet.modules())


def test_a_mode_lasts_only_so_long(convnet: nn.Sequential) -> None:
    convnet.train()[1].eval()
    with in_mode(convnet, training=False):
        assert not any(module.training for module in convnet.modules())
    assert [module.training for module in convnet] == [True, False, True, True, True]


def test_the_hessian_is_that_of_a_quadratic_form() -> None:
    form = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    at = {"w": torch.tensor([1.0, -1.0], dtype=torch.float64), "unused": torch.ones(1, dtype=torch.float64)}
    vector = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64), "unused": torch.ones(1, dtype=torch.float64)}

    def quadratic(weights: dict[str, Tensor]) -> Tensor:
        return weights["w"] @ form @ weights["w"] / 2

    with torch.no_grad():
        assert {name: g.tolist() for name, g in gradient(quadratic, at).items()} == {"w": [1, -2], "unused": [0]}
        product = hessian_vector_product(quadratic, at, vector)
    assert {name: value.tolist() for name, value in product.items()} == {"w": [4, 7], "unused": [0]}


def test_a_plane_has_no_curvature() -> None:
    at = {"w": torch.tensor([1.0, -1.0]), "b": torch.ones(1)}
    product = hessian_vector_product(lambda weights: 3 * weights["w"].sum() + weights["b"].sum(), at, at)
    assert {name: value.tolist() for name, value in product.items()} == {"w": [0, 0], "b": [0]}


def test_a_network_at_other_weights_forgets_what_it_met(convnet: nn.Sequential, batches: list[Batch]) -> None:
    before = {name: tensor.clone() for name, tensor in convnet.state_dict().items()}
    weights = {name: torch.zeros_like(parameter) for name, parameter in convnet.named_parameters()}
    assert not network_at(convnet.train(), weights)(batches[0].images).any()
    assert all(torch.equal(tensor, before[name]) for name, tensor in convnet.state_dict().items())
