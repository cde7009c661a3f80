"""The learning rate at any moment of training.

Lives here: the curve as a pure function of the recipe. Must not: torch, optimizers, steps.
"""

import math

from harness.recipe import Recipe


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The rate when `epoch` epochs, counted with fractions, are done.

    Rises linearly from 0 over `warmup_epochs`; then constant between milestones, or down to 0 at the end in half a
    cosine or in a straight line.
    """
    if epoch < recipe.warmup_epochs:
        return recipe.lr * epoch / recipe.warmup_epochs
    if recipe.schedule == "step":
        return recipe.lr * recipe.factor ** sum(epoch >= milestone for milestone in recipe.milestones)
    if epoch >= recipe.epochs:
        return 0.0
    progress = (epoch - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs)
    if recipe.schedule == "linear":
        return recipe.lr * (1 - progress)
    return recipe.lr * (1 + math.cos(math.pi * progress)) / 2
