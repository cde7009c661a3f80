"""The only training loop.

Lives here: epochs, micro-batches, the loss. Must not: any method (they reach the loop as an objective), what is told on
the way (`harness.watch`).
"""

import torch
from torch import nn

from harness.batch import Batch
from harness.context import Context
from harness.contracts import Objective
from harness.data.prepared import Prepared
from harness.engine.engine import Engine, average_buffers, make_engine
from harness.network import place
from harness.recipe import Recipe
from harness.schedule import learning_rate
from harness.watch import Watch


def train(
    network: nn.Module, recipe: Recipe, objective: Objective, data: Prepared, seed: int, context: Context
) -> list[float]:
    """Train in place; pruned weights must be zero and held already. Returns the mean loss of each epoch.

    Raises StageError at the first loss that is not finite, on all ranks together.
    """
    accumulation = recipe.accumulation(context.topology.world)
    stream = data.train_stream(recipe, seed, context)
    place(network, context.device, channels_last=recipe.channels_last).train()
    engine = make_engine(network, recipe, context.topology.world)
    watch = Watch(recipe, stream.steps_per_epoch, context)
    try:
        for epoch in range(recipe.epochs):
            for micro, batch in enumerate(stream.epoch(epoch)):
                lr = learning_rate(recipe, epoch + micro // accumulation / stream.steps_per_epoch)
                loss = total_loss(engine, objective, batch, recipe)
                engine.update(loss, lr)
                watch.see(loss.detach())
            watch.end_epoch()
    finally:
        engine.close()
    average_buffers(network)
    return watch.epoch_losses


def total_loss(engine: Engine, objective: Objective, batch: Batch, recipe: Recipe) -> torch.Tensor:
    """The sum of the objective's terms on one micro-batch, in fp32 whatever the precision of the network."""
    logits = engine.forward(batch.images).float()
    bf16 = recipe.precision == "bf16"
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=bf16):  # for a teacher, if there is one
        terms = objective(logits, batch)
    return torch.stack([term.float() for term in terms.values()]).sum()
