"""BatchNorm's running statistics do not depend on how a step is divided."""

from collections.abc import Callable

import torch
from torch import nn

from harness.engine.statistics import StepStatistics


def statistics(parts: list[list[torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """After steps of several micro-batches each."""
    network = nn.Sequential(nn.BatchNorm2d(3)).train()
    keeper = StepStatistics(network, len(parts[0]))
    for step in parts:
        for images in step:
            network(images)
            keeper.after_micro_batch()
    norm = network[0]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var, int(norm.num_batches_tracked or 0)


def test_a_step_is_one_update_by_the_mean_over_its_micro_batches() -> None:
    images = [[torch.randn(4, 3, 5, 5) + k + j for j in range(3)] for k in range(2)]
    mean, variance = torch.zeros(3), torch.ones(3)
    for step in images:
        mean = 0.9 * mean + 0.1 * torch.stack([part.mean((0, 2, 3)) for part in step]).mean(0)
        variance = 0.9 * variance + 0.1 * torch.stack([part.var((0, 2, 3)) for part in step]).mean(0)
    found = statistics(images)
    torch.testing.assert_close(found[0], mean)
    torch.testing.assert_close(found[1], variance)
    assert found[2] == 2


def test_two_ranks_of_one_micro_batch_and_one_rank_of_two_agree() -> None:
    images = [[torch.randn(4, 3, 5, 5) + k for _ in range(2)] for k in range(4)]
    ranks = [statistics([[step[rank]] for step in images]) for rank in range(2)]
    alone = statistics(images)
    average: Callable[[int], torch.Tensor] = lambda which: torch.stack([rank[which] for rank in ranks]).mean(0)  # type: ignore[arg-type,misc]  # noqa: E731
    torch.testing.assert_close(alone[0], average(0))
    torch.testing.assert_close(alone[1], average(1))
    assert alone[2] == ranks[0][2] == 4
