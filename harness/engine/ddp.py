"""Training under torch's DistributedDataParallel: plain, and so the oracle for the DeepSpeed engine.

Lives here: `DDPEngine`. Must not: anything the oracle does not need.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from harness.engine.optimizer import momentum_of, set_learning_rate, set_momentum, sgd, without
from harness.pruning.mask import Masks, apply
from harness.recipe import Recipe


class DDPEngine:
    """See `harness.engine.engine.Engine`."""

    def __init__(self, network: nn.Module, recipe: Recipe, accumulation: int) -> None:
        self.network = network
        self.optimizer = sgd(network, recipe)
        self.module = DistributedDataParallel(network, forward_sync_buffers=False)
        self.accumulation = accumulation
        self.bf16 = recipe.precision == "bf16"
        self.micro_batches = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with self._synchronised(), torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            logits: torch.Tensor = self.module(images)
        return logits

    def update(self, loss: torch.Tensor, lr: float) -> None:
        with self._synchronised():
            (loss / self.accumulation).backward()
        self.micro_batches += 1
        if self.micro_batches % self.accumulation == 0:
            set_learning_rate(self.optimizer, lr)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def momentum(self) -> dict[str, torch.Tensor]:
        return momentum_of(self.optimizer, self.network)

    def set_momentum(self, values: dict[str, torch.Tensor]) -> None:
        set_momentum(self.optimizer, self.network, values)

    def remove(self, masks: Masks) -> None:
        apply(self.network, masks)
        set_momentum(self.optimizer, self.network, without(self.momentum(), masks))

    def close(self) -> None:
        """Nothing to undo: the network is left as it is."""

    def _synchronised(self) -> AbstractContextManager[None]:
        last = (self.micro_batches + 1) % self.accumulation == 0
        return nullcontext() if last else self.module.no_sync()
