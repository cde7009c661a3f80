"""`make bench`: the global magnitude threshold on ResNet-50 at 80 %, against torch's own `global_unstructured`."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from harness.models.resnet import ResNet
from harness.pruning.mask import prunable
from harness.pruning.threshold import global_masks
from tests.bench.interleaved import compare

SPARSITY = 0.8


def main() -> None:
    """Print one line."""
    torch.manual_seed(0)
    network = ResNet(depth=50, classes=1000).build()
    layers: list[tuple[Any, str]] = [(m, "weight") for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]

    def ours() -> None:
        global_masks({name: weight.detach().abs() for name, weight in prunable(network).items()}, SPARSITY)

    def theirs() -> None:
        prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=SPARSITY)
        for module, name in layers:
            dense = module.weight_orig.detach()
            prune.remove(module, name)
            module.weight.data = dense

    print(compare("threshold, ResNet-50 at 80 %", ours, theirs, "torch.nn.utils.prune.global_unstructured"))


if __name__ == "__main__":
    main()
