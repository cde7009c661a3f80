"""Training under DeepSpeed: the only file that imports it.

Lives here: `DeepSpeedEngine` and DeepSpeed's configuration. Must not: DeepSpeed's checkpoints (they are pickles).
"""

import logging
import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed
from deepspeed.utils import (
    groups,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
)

from harness.engine.optimizer import momentum_of, set_learning_rate, set_momentum, sgd, without
from harness.pruning.mask import Masks, apply
from harness.recipe import Recipe

# On a CPU DeepSpeed would spend 20-35 s on compiling a shared-memory all-reduce that training never calls.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
logging.getLogger("DeepSpeed").setLevel(logging.WARNING)


class DeepSpeedEngine:
    """See `harness.engine.engine.Engine`. Joins the process group that exists already."""

    def __init__(self, network: nn.Module, recipe: Recipe, accumulation: int, patience_s: float) -> None:
        deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
        # DeepSpeed would make its group without a limit of ours, once for the process, and keep it beyond the end.
        groups._WORLD_GROUP = dist.new_group(timeout=timedelta(seconds=patience_s))
        self.network, self.zero_stage = network, recipe.zero_stage
        self.optimizer = sgd(network, recipe)
        self.engine, *_ = deepspeed.initialize(
            model=network, optimizer=self.optimizer, config=configuration(recipe, accumulation)
        )
        if self.zero_stage:
            self._link_momentum()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.engine(images)
        return logits

    def update(self, loss: torch.Tensor, lr: float) -> None:
        set_learning_rate(self.optimizer, lr)
        self.engine.backward(loss)
        self.engine.step()

    def momentum(self) -> dict[str, torch.Tensor]:
        if self.zero_stage == 0:
            return momentum_of(self.optimizer, self.network)
        return {n: safe_get_full_optimizer_state(p, "momentum_buffer") for n, p in self.network.named_parameters()}

    def set_momentum(self, values: dict[str, torch.Tensor]) -> None:
        if self.zero_stage == 0:
            set_momentum(self.optimizer, self.network, values)
            return
        for name, parameter in self.network.named_parameters():
            safe_set_full_optimizer_state(parameter, values[name].to(parameter.device), "momentum_buffer")

    def remove(self, masks: Masks) -> None:
        apply(self.network, masks)
        self.set_momentum(without(self.momentum(), masks))
        if self.zero_stage:  # its weights of record are a copy
            for name, parameter in self.network.named_parameters():
                if name in masks:
                    safe_set_full_fp32_param(parameter, parameter.detach().float())

    def _link_momentum(self) -> None:
        """Tell every parameter where in ZeRO's flat parts its momentum is, now that it is zero.

        ZeRO does so after its first step of the first parameter group, when the second group has none yet.
        """
        for group in self.optimizer.param_groups:
            for part in group["params"]:
                self.optimizer.state[part]["momentum_buffer"] = torch.zeros_like(part)
        self.engine.optimizer._lazy_init_hp_params_optimizer_state()

    def close(self) -> None:
        self.engine.destroy()
        dist.destroy_process_group(groups._WORLD_GROUP)
        groups._WORLD_GROUP = None


def configuration(recipe: Recipe, accumulation: int) -> dict[str, Any]:
    """DeepSpeed's view of a recipe. Autocast, for its `bf16` casts parameters but not BatchNorm's buffers."""
    return {
        "train_batch_size": recipe.global_batch,
        "train_micro_batch_size_per_gpu": recipe.batch_per_gpu,
        "gradient_accumulation_steps": accumulation,
        "zero_optimization": {"stage": recipe.zero_stage},
        "zero_allow_untested_optimizer": True,  # SGD is "untested" to ZeRO; tests/distributed tests it
        "torch_autocast": {"enabled": recipe.precision == "bf16", "dtype": "bfloat16"},
        "steps_per_print": 2**31,
    }
