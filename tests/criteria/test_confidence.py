"""A user prunes a teacher by what spreads its confidence."""

import pytest
import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.criteria.confidence import Confidence
from harness.objective import CrossEntropy
from harness.pruning.mask import prunable
from tests.criteria import by_hand

ALL = (0, 1, 2, 4, 5, 6, 7, 8, 9)
"""The images that are not alone of their class: image 3 is the only one of class 2."""


def confidences(p: Tensor, batches: list[Batch]) -> list[float]:
    labels = [int(label) for batch in batches for label in batch.labels]
    return [float(row[label]) for row, label in zip(p, labels, strict=True)]


def class_means(p: Tensor, batches: list[Batch]) -> list[float]:
    """For each image the mean confidence in its class."""
    labels = [int(label) for batch in batches for label in batch.labels]
    sure = confidences(p, batches)
    members = [[sure[j] for j in range(10) if labels[j] == label] for label in labels]
    return [sum(values) / len(values) for values in members]


def test_the_score_is_the_sensitivity_of_the_spread(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    images, labels = (torch.cat([getattr(batch, field) for batch in batches]) for field in ("images", "labels"))
    p = by_hand.probabilities(perceptron, images)
    means, at_logits = class_means(p, batches), torch.zeros(10, 3, dtype=torch.float64)
    for i in ALL:
        for k in range(3):  # d|p_c - mean|/dz_k = sign * p_c * ([c = k] - p_k)
            c = int(labels[i])
            at_logits[i, k] = (1 if p[i, c] > means[i] else -1) * p[i, c] * ((1 if c == k else 0) - p[i, k])
    expected = by_hand.gradients(perceptron, images, at_logits)
    scores = Confidence().score(perceptron, batches, CrossEntropy())
    for name, weight in prunable(perceptron).items():
        torch.testing.assert_close(scores[name], (weight.detach() * expected[name]).abs(), rtol=1e-6, atol=1e-15)


def test_it_is_the_change_of_the_spread_as_a_connection_fades(convnet: nn.Sequential, batches: list[Batch]) -> None:
    scores = Confidence().score(convnet.train(), batches, CrossEntropy())
    convnet.eval()
    images = torch.cat([batch.images for batch in batches])
    with torch.no_grad():
        means = class_means(convnet(images).softmax(1), batches)

    def spread() -> Tensor:
        sure = confidences(convnet(images).softmax(1), batches)
        return torch.tensor(sum(abs(sure[i] - means[i]) for i in ALL), dtype=torch.float64)

    for name, position, change in by_hand.sensitivities(convnet, spread):
        assert by_hand.at(scores, name, position) == pytest.approx(abs(change), rel=1e-5)


class Unsteady(nn.Module):
    """A GPU, which may add in another order the second time."""

    def forward(self, images: Tensor) -> Tensor:
        return images * (1 + 1e-12) if torch.is_grad_enabled() else images


def test_an_image_alone_of_its_class_adds_nothing(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    batch, network = batches[0], nn.Sequential(Unsteady(), perceptron)
    alone = Batch(batch.images[[1, 2, 3]], batch.labels[[1, 2, 3]], torch.arange(3))
    without = Batch(batch.images[[1, 2]], batch.labels[[1, 2]], torch.arange(2))
    first, second = (Confidence().score(network, [b], CrossEntropy()) for b in (alone, without))
    for name in first:
        torch.testing.assert_close(first[name], second[name])
        assert first[name].any()
