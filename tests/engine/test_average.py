"""The running average of weights, against its formula in float64."""

import torch
from torch import nn

from harness.engine.average import Average


def test_each_update_keeps_a_share_of_the_average() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    history = []
    average = Average(network, decay=0.75)
    expected = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for step in range(5):
        with torch.no_grad():
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(step)))
        history.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        average.update()
    count = expected.pop("1.num_batches_tracked")
    average.replace_network()
    after = network.state_dict()
    for name, start in expected.items():
        value = 0.75**5 * start + sum(0.25 * 0.75 ** (4 - k) * seen[name] for k, seen in enumerate(history))
        torch.testing.assert_close(after[name], value, rtol=1e-12, atol=1e-12)
    assert after["1.num_batches_tracked"] == count


def test_pruned_weights_stay_pruned() -> None:
    network = nn.Linear(2, 2)
    network.weight.data[0, 0] = 0.0
    average = Average(network, decay=0.9)
    network.weight.data[1] += 1
    average.update()
    average.replace_network()
    assert network.weight[0, 0].item() == 0.0
    assert network.weight[1, 0].item() != 0.0
