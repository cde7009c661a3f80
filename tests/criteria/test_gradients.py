"""Gradients are taken without a trace, whatever happens on the way."""

import pytest
import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.criteria._gradients import in_mode, summed_gradients, total_loss
from harness.objective import CrossEntropy
from harness.pruning import mask


class TwoTerms(CrossEntropy):
    """Cross-entropy in two halves."""

    def __call__(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        half = super().__call__(logits, batch)["ce"] / 2
        return {"one": half, "other": half}


def test_gradients_of_all_batches_add_up(convnet: nn.Sequential, batches: list[Batch]) -> None:
    loss = total_loss(CrossEntropy())
    both = summed_gradients(convnet, batches, loss, training=False)
    alone = [summed_gradients(convnet, [batch], loss, training=False) for batch in batches]
    for name, gradient in both.items():
        torch.testing.assert_close(gradient, alone[0][name] + alone[1][name])


def test_the_loss_is_the_sum_of_its_terms(convnet: nn.Sequential, batches: list[Batch]) -> None:
    halves = summed_gradients(convnet, batches, total_loss(TwoTerms()), training=False)
    whole = summed_gradients(convnet, batches, total_loss(CrossEntropy()), training=False)
    assert all(torch.allclose(halves[name], whole[name]) for name in whole)


def test_a_held_weight_shows_its_gradient(convnet: nn.Sequential, batches: list[Batch]) -> None:
    before = summed_gradients(convnet, batches, total_loss(CrossEntropy()), training=False)
    mask.hold(convnet, {name: torch.zeros_like(score, dtype=torch.bool) for name, score in before.items()})
    after = summed_gradients(convnet, batches, total_loss(CrossEntropy()), training=False)
    assert all(torch.equal(before[name], after[name]) and before[name].any() for name in before)


def test_a_layer_that_takes_no_part_has_gradient_zero(convnet: nn.Sequential, batches: list[Batch]) -> None:
    convnet[2].add_module("unused", nn.Linear(2, 2))
    gradients = summed_gradients(convnet, batches, total_loss(CrossEntropy()), training=False)
    assert gradients["2.unused.weight"].tolist() == [[0, 0], [0, 0]]


def test_it_works_where_gradients_are_switched_off(convnet: nn.Sequential, batches: list[Batch]) -> None:
    with torch.no_grad():
        gradients = summed_gradients(convnet, batches, total_loss(CrossEntropy()), training=False)
    assert all(gradient.any() for gradient in gradients.values())


def test_a_failure_leaves_the_network_as_it_was(convnet: nn.Sequential, batches: list[Batch]) -> None:
    before = {name: tensor.clone() for name, tensor in convnet.state_dict().items()}
    parameters = list(convnet.parameters())

    def fails(logits: Tensor, batch: Batch) -> Tensor:
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
