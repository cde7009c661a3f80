"""A user prunes at initialisation by connection sensitivity."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness.batch import Batch
from harness.criteria.snip import Snip
from harness.errors import StageError
from harness.objective import CrossEntropy
from harness.pruning import mask
from harness.pruning.mask import prunable
from tests.criteria import by_hand


def test_the_score_is_the_normalised_sensitivity(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    at_logits = [by_hand.cross_entropy_at_logits(perceptron, batch.images, batch.labels) for batch in batches]
    by_batch = [by_hand.gradients(perceptron, b.images, d) for b, d in zip(batches, at_logits, strict=True)]
    expected = {
        name: (weight.detach() * (by_batch[0][name] + by_batch[1][name]) / 2).abs()
        for name, weight in prunable(perceptron).items()
    }
    total = sum(score.sum() for score in expected.values())
    scores = Snip(batches=2).score(perceptron, batches, CrossEntropy())
    for name in expected:
        torch.testing.assert_close(scores[name].double(), expected[name] / total, rtol=1e-6, atol=0)


def test_it_is_the_change_of_the_training_loss_as_a_connection_fades(
    convnet: nn.Sequential, batches: list[Batch]
) -> None:
    convnet.eval()  # the criterion asks for training mode itself, in which BatchNorm takes the batch's statistics
    scores = Snip(batches=2).score(convnet, batches, CrossEntropy())
    convnet.train()

    def loss() -> torch.Tensor:
        return torch.stack([F.cross_entropy(convnet(batch.images), batch.labels) for batch in batches]).mean()

    changes = list(by_hand.sensitivities(convnet, loss))
    ratios = [by_hand.at(scores, name, position) / abs(change) for name, position, change in changes]
    assert ratios == pytest.approx([ratios[0]] * 6, rel=1e-5)  # all of them share the factor that makes the sum 1


def test_all_scores_sum_to_one(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    scores = Snip().score(perceptron, batches, CrossEntropy())
    assert float(torch.cat([score.flatten() for score in scores.values()]).sum()) == pytest.approx(1)


def test_one_batch_is_looked_at_unless_more_are_asked_for(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    one, both = (Snip(batches=n).score(perceptron, batches, CrossEntropy())["1.weight"] for n in (1, 2))
    default = Snip().score(perceptron, batches, CrossEntropy())["1.weight"]
    assert torch.equal(default, one) and not torch.equal(default, both)


def test_a_network_that_answers_all_images_alike_is_refused(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    mask.apply(perceptron, {"1.weight": torch.zeros(5, 12).bool(), "3.weight": torch.zeros(3, 5).bool()})
    with pytest.raises(StageError, match="depends on no weight"):
        Snip().score(perceptron, batches, CrossEntropy())
