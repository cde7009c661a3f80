"""A user prunes a trained network by what the loss would change."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.batch import Batch
from harness.contracts import Forward, Given
from harness.criteria.taylor import Taylor
from harness.objective import CrossEntropy
from harness.pruning.mask import prunable
from tests.criteria import by_hand


class Scaled(CrossEntropy):
    """The loss of a network that is nearly always right."""

    def terms(self, network: Forward, batch: Batch, given: Given) -> dict[str, Tensor]:
        return {"ce": super().terms(network, batch, given)["ce"] * 1e-20}


def test_the_score_is_the_first_order_change_squared_batch_by_batch(
    perceptron: nn.Sequential, batches: list[Batch]
) -> None:
    scores = Taylor().score(perceptron, batches, CrossEntropy())
    at_logits = [by_hand.cross_entropy_at_logits(perceptron, batch.images, batch.labels) for batch in batches]
    by_batch = [by_hand.gradients(perceptron, b.images, d) for b, d in zip(batches, at_logits, strict=True)]
    for name, weight in prunable(perceptron).items():
        squares = sum((weight.detach() * one[name]) ** 2 for one in by_batch)
        torch.testing.assert_close(scores[name], squares**0.5, rtol=1e-6, atol=0)


def test_it_is_the_change_of_the_evaluation_loss_as_a_connection_fades(
    convnet: nn.Sequential, batches: list[Batch]
) -> None:
    scores = Taylor(batches=1).score(convnet.train(), batches, CrossEntropy())
    convnet.eval()
    (batch, _) = batches
    for name, position, change in by_hand.sensitivities(
        convnet, lambda: F.cross_entropy(convnet(batch.images), batch.labels)
    ):
        assert by_hand.at(scores, name, position) == pytest.approx(abs(change), rel=1e-5)


def test_scores_whose_squares_vanish_in_float32_still_have_an_order(
    perceptron: nn.Sequential, batches: list[Batch]
) -> None:
    batches = [Batch(batch.images.float(), batch.labels, batch.indices) for batch in batches]
    scores = Taylor().score(perceptron.float(), batches, Scaled())
    plain = Taylor().score(perceptron.float(), batches, CrossEntropy())
    for name, score in scores.items():
        assert score.count_nonzero() == plain[name].count_nonzero() > 0
        torch.testing.assert_close(score / 1e-20, plain[name])


def test_two_batches_that_pull_a_weight_apart_do_not_hide_it(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    one = Taylor(batches=1).score(perceptron, batches, CrossEntropy())
    both = Taylor(batches=2).score(perceptron, batches, CrossEntropy())
    assert all((both[name] >= one[name]).all() for name in one)
