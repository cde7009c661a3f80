"""A user prunes without data, by the flow through the network."""

import pytest
import torch
from torch import nn

from harness.batch import Batch
from harness.criteria.synflow import SynFlow
from harness.errors import StageError
from harness.models.vgg import VGG
from harness.objective import CrossEntropy
from harness.pruning import mask
from harness.pruning.allocation import allocated_masks
from harness.pruning.mask import prunable


def plain(*, depth: int, width: int) -> nn.Sequential:
    """Neither biases nor BatchNorm: what comes in goes on."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, width, 1, bias=False), nn.ReLU(), nn.Flatten()]
    inputs = 4 * width
    for _ in range(depth):
        layers += [nn.Linear(inputs, width, bias=False), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(width, 3, bias=False))


def test_the_score_is_the_flow_through_a_weight(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    first, second = (weight.detach().abs() for weight in prunable(perceptron).values())
    expected = {"1.weight": first * second.sum(0)[:, None], "3.weight": second * first.sum(1)}
    largest = max(float(score.max()) for score in expected.values())
    scores = SynFlow().score(perceptron, batches, CrossEntropy())
    for name, score in expected.items():
        torch.testing.assert_close(scores[name].double(), score / largest, rtol=1e-6, atol=0)


def test_every_buffer_and_parameter_counts_with_its_absolute_value(
    convnet: nn.Sequential, batches: list[Batch]
) -> None:
    scores = SynFlow().score(convnet, batches, CrossEntropy())
    state = {name: tensor.abs() for name, tensor in convnet.state_dict().items()}
    padded = torch.nn.functional.pad(torch.ones(1, 3, 2, 2, dtype=torch.float64), (1, 1, 1, 1))
    patches = padded.unfold(2, 3, 1).unfold(3, 3, 1)  # (1, 3, 2, 2, 3, 3)
    out = torch.einsum("bcyxij,ocij->yxo", patches, state["0.weight"]) + state["0.bias"]
    out = (out - state["1.running_mean"]) / (state["1.running_var"] + 1e-5).sqrt()
    hidden = (out * state["1.weight"] + state["1.bias"]).clamp(min=0).permute(2, 0, 1).flatten()
    expected = state["4.weight"] * hidden
    torch.testing.assert_close(
        (scores["4.weight"] / scores["4.weight"].max()).double(), expected / expected.max(), rtol=1e-6, atol=0
    )


def test_the_flow_is_conserved_from_layer_to_layer_and_positive(batches: list[Batch]) -> None:
    scores = SynFlow().score(plain(depth=3, width=8), batches, CrossEntropy())
    sums = [float(score.double().sum()) for score in scores.values()]
    assert sums == pytest.approx([sums[0]] * 5, rel=1e-6)
    assert all((score > 0).all() for score in scores.values())


def test_neither_signs_nor_images_nor_labels_matter(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    before = SynFlow().score(perceptron, batches, CrossEntropy())
    with torch.no_grad():
        perceptron.get_parameter("1.weight").neg_()
    after = SynFlow().score(
        perceptron, [Batch(7 * batches[1].images, batches[1].labels, torch.arange(5))], CrossEntropy()
    )
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_flow_beyond_float32_keeps_its_order(batches: list[Batch]) -> None:
    deep = plain(depth=60, width=16)
    with torch.no_grad():
        for weight in prunable(deep).values():
            weight.mul_(20)
    scores = SynFlow().score(deep, batches, CrossEntropy())
    assert all(score.isfinite().all() and (score > 0).all() for score in scores.values())


def test_a_network_with_an_empty_layer_is_refused(perceptron: nn.Sequential, batches: list[Batch]) -> None:
    mask.apply(perceptron, {"1.weight": torch.zeros(5, 12).bool()})
    with pytest.raises(StageError, match="no flow reaches the outputs"):
        SynFlow().score(perceptron, batches, CrossEntropy())


@pytest.mark.parametrize(("iterations", "collapses"), [(1, True), (100, False)])
def test_layers_are_emptied_at_once_but_not_little_by_little(iterations: int, collapses: bool) -> None:
    torch.manual_seed(0)
    network = VGG(blocks=((8,), (16,), (32, 32, 32), (64, 64, 64), (64, 64, 64)), classes=10).build()
    batch = Batch(torch.empty(1, 3, 16, 16), torch.zeros(1, dtype=torch.int64), torch.arange(1))
    masks = mask.all_kept(network)
    for iteration in range(1, iterations + 1):
        scores = SynFlow().score(network, [batch], CrossEntropy())
        masks = allocated_masks(scores, 1 - 0.02 ** (iteration / iterations), "global", masks)
        mask.apply(network, masks)
    assert (min(mask.kept(masks).values()) == 0) == collapses
