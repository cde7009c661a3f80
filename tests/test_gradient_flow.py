"""A user asks how much of the gradient a pruned network still trains with."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from harness.batch import Batch
from harness.gradient_flow import gradient_flow
from harness.pruning.mask import Masks, all_kept, prunable


@pytest.fixture
def network() -> nn.Sequential:
    """BatchNorm with a past, and dropout: both count in training mode only. Images (n, 3, 2, 2) -> logits (n, 3)."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(12)
    norm.register_buffer("running_var", torch.full((12,), 4.0))
    layers = nn.Flatten(), norm, nn.Linear(12, 40), nn.Tanh(), nn.Dropout(0.5), nn.Linear(40, 3)
    return nn.Sequential(*layers).double().eval()


@pytest.fixture
def batch() -> Batch:
    images = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(images, torch.tensor([0, 1, 1, 2, 0]), torch.arange(5))


def half(network: nn.Module) -> Masks:
    """Masks that keep every second weight."""
    return {name: torch.arange(mask.numel()).view(mask.shape) % 2 == 0 for name, mask in all_kept(network).items()}


def squared_slopes(network: nn.Module, masks: Masks, batch: Batch) -> dict[str, Tensor]:
    """The squared gradient of every weight, kept or not, in the network that `masks` leaves, in training mode."""
    left = {name: (weight.detach() * masks[name]).requires_grad_() for name, weight in prunable(network).items()}
    logits = functional_call(copy.deepcopy(network).train(), left, (batch.images,))
    slopes = torch.autograd.grad(F.cross_entropy(logits, batch.labels), list(left.values()))
    return {name: slope**2 for name, slope in zip(left, slopes, strict=True)}


def test_it_is_what_the_kept_weights_follow_over_what_all_would(network: nn.Sequential, batch: Batch) -> None:
    masks = half(network)
    network[4] = nn.Identity()  # instead of dropout: by hand nothing is drawn
    kept = sum(float(slope[masks[name]].sum()) for name, slope in squared_slopes(network, masks, batch).items())
    whole = sum(float(slope.sum()) for slope in squared_slopes(network, all_kept(network), batch).values())
    assert gradient_flow(network, masks, batch) == pytest.approx(kept / whole, rel=1e-6)


def test_with_all_weights_kept_it_is_one_whatever_dropout_draws(network: nn.Sequential, batch: Batch) -> None:
    assert gradient_flow(network, all_kept(network), batch) == 1.0


def test_a_removed_weight_has_no_part_in_it(network: nn.Sequential, batch: Batch) -> None:
    masks = all_kept(network)
    masks["5.weight"] = torch.zeros_like(masks["5.weight"])  # nothing reaches the layer before it any more
    assert squared_slopes(network, masks, batch)["5.weight"].any()
    assert gradient_flow(network, masks, batch) == 0


def test_without_a_gradient_there_is_no_share_of_it(network: nn.Sequential, batch: Batch) -> None:
    for parameter in network.parameters():
        nn.init.zeros_(parameter)  # no feature says anything, and nothing goes back
    assert gradient_flow(network, all_kept(network), batch) is None


def test_a_gradient_that_is_no_number_has_no_share(network: nn.Sequential, batch: Batch) -> None:
    nn.init.constant_(prunable(network)["5.weight"], float("nan"))
    assert gradient_flow(network, half(network), batch) is None


def test_the_network_is_left_as_it_was_and_draws_go_on(network: nn.Sequential, batch: Batch) -> None:
    before, draws = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    gradient_flow(network, half(network), batch)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), draws)
