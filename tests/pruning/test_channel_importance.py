"""What Torch-Pruning makes of a group's channels, against a reading of each formula in float64."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.batch import Batch
from harness.errors import StageError, UserError
from harness.objective import CrossEntropy
from harness.pruning.channel import score_channels
from harness.pruning.loss_gradients import add_loss_gradients
from harness.pruning.reduction import Importance

EXAMPLE = torch.zeros(1, 3, 8, 8)
IMAGES, LABELS = 16, 3


def small() -> nn.Sequential:
    """The group of layer 0 is a convolution, its BatchNorm, and the inputs of the next convolution."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 7, 3, padding=1),
        nn.BatchNorm2d(7),
        nn.ReLU(),
        nn.Conv2d(7, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, LABELS),
    )
    for name in ("1.weight", "1.bias", "4.weight", "4.bias"):
        nn.init.normal_(network.get_parameter(name))
    return network


def batches(count: int = 2) -> list[Batch]:
    torch.manual_seed(1)
    return [
        Batch(torch.randn(IMAGES, 3, 8, 8), torch.randint(LABELS, (IMAGES,)), torch.arange(IMAGES))
        for _ in range(count)
    ]


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """Of the summed loss, by autograd in float64."""
    network.double().eval()
    loss = sum(F.cross_entropy(network(batch.images.double()), batch.labels) for batch in batches())
    weights = dict(network.named_parameters())
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))  # type: ignore[arg-type]


def sides(tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """[channels, numbers]: what a channel has in the layer that makes it, and in the one that reads it."""
    return tensors["0.weight"].flatten(1), tensors["3.weight"].transpose(0, 1).flatten(1)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().double() for name, parameter in network.named_parameters()}


def squares(network: nn.Module) -> Tensor:
    makes, reads = sides(weights(network))
    return (makes.square().sum(1) + weights(network)["1.weight"].square() + reads.square().sum(1)) / 3


def bn_scale(network: nn.Module) -> Tensor:
    return weights(network)["1.weight"].abs()


def fpgm(network: nn.Module) -> Tensor:
    return torch.stack(
        [
            sum((side.square()[one] - other).norm() for side in sides(weights(network)) for other in side.square())  # type: ignore[misc]
            for one in range(7)
        ]
    )


def taylor(network: nn.Module) -> Tensor:
    wanted = gradients(network)
    return sum((w * g).abs().sum(1) for w, g in zip(sides(weights(network)), sides(wanted), strict=True))  # type: ignore[return-value]


def lamp(network: nn.Module) -> Tensor:
    score = squares(network)
    return torch.stack([one / score[score >= one].sum() for one in score])


READINGS: dict[str, Callable[[nn.Module], Tensor]] = {
    "magnitude": squares,
    "bn_scale": bn_scale,
    "fpgm": fpgm,
    "taylor": taylor,
}


@pytest.mark.parametrize("importance", READINGS)
def test_the_scores_are_the_formula_over_its_mean(importance: Importance) -> None:
    network = small()
    add_loss_gradients(network, batches(), CrossEntropy())
    reading = READINGS[importance](small())
    torch.testing.assert_close(
        score_channels(network, EXAMPLE, importance)["0"].double(), reading / reading.mean(), rtol=1e-5, atol=0
    )


def test_lamp_is_the_magnitude_over_all_that_is_as_large() -> None:
    found = score_channels(small(), EXAMPLE, "lamp")["0"].double()
    torch.testing.assert_close(found, lamp(small()), rtol=1e-5, atol=0)
    assert found.max() == pytest.approx(1)


@pytest.mark.parametrize("importance", get_args(Importance))
def test_every_importance_is_finite_and_orders_channels_its_own_way(importance: Importance) -> None:
    network = small()
    add_loss_gradients(network, batches(), CrossEntropy())
    scores = score_channels(network, EXAMPLE, importance)
    assert {layer: len(score) for layer, score in scores.items()} == {"0": 7, "3": 5}
    assert all(score.isfinite().all() and (score >= 0).all() for score in scores.values())
    torch.manual_seed(5)
    chance = score_channels(network, EXAMPLE, "random")["0"]
    assert (scores["0"].argsort().tolist() == chance.argsort().tolist()) is False


def test_random_scores_come_from_torchs_generator() -> None:
    def drawn(seed: int) -> list[float]:
        torch.manual_seed(seed)
        found: list[float] = score_channels(network, EXAMPLE, "random")["0"].tolist()
        return found

    network = small()
    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize("importance", ["magnitude", "lamp", "fpgm"])
def test_a_group_that_is_dead_goes_first(importance: Importance) -> None:
    network = small()
    for layer in (0, 1, 3):
        nn.init.zeros_(network.get_parameter(f"{layer}.weight"))
    scores = score_channels(network, EXAMPLE, importance)
    assert scores["0"].tolist() == [0.0] * 7
    assert scores["3"].max() > 0


def test_bn_scale_leaves_out_what_no_batchnorm_reads() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*list(small())[:7], nn.Flatten(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    assert {"0", "3", "8"} == set(score_channels(network, EXAMPLE, "magnitude"))
    assert {"0", "3"} == set(score_channels(network, EXAMPLE, "bn_scale"))


def test_bn_scale_is_refused_without_any_batchnorm() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    with pytest.raises(UserError, match="has no BatchNorm to read"):
        score_channels(network, EXAMPLE, "bn_scale")


def test_gradients_are_summed_and_running_statistics_stay() -> None:
    network, wanted = small(), gradients(small())
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    add_loss_gradients(network.train(), batches(), CrossEntropy())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.double(), wanted[name], rtol=1e-4, atol=1e-6)
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_a_loss_that_is_not_finite_ends_the_stage() -> None:
    network = small()
    nn.init.constant_(network.get_parameter("0.weight"), float("nan"))
    with pytest.raises(StageError, match="the loss is nan"):
        add_loss_gradients(network, batches(), CrossEntropy())
