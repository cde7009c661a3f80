"""How one data set is used in EPSD, early pruning then self-distillation: its recipe, and the stages it makes.

Lives here: `Protocol`, and the recipes. Must not: which stages a table holds, any data set.
"""

from dataclasses import dataclass, replace

from harness.benchmark import Entry
from harness.contracts import Criterion, Model, SelfDistillation
from harness.criteria.prospr import ProsPr
from harness.data.augment import Augment
from harness.recipe import Recipe
from harness.self_distillation.cs_kd import CSKD
from harness.self_distillation.dlb import DLB
from harness.self_distillation.ps_kd import PSKD
from harness.spec import Stage
from harness.stages.evaluate import Evaluate
from harness.stages.inspect import Inspect
from harness.stages.prepare import Prepare
from harness.stages.prune_channels_early import PruneChannelsEarly
from harness.stages.prune_early import PruneEarly
from harness.stages.self_distill import SelfDistill
from harness.stages.train import Train

METHODS: dict[str, SelfDistillation] = {"CS-KD": CSKD(), "PS-KD": PSKD(), "DLB": DLB()}
"""Those of the paper."""
OURS = "a recipe of ours unless the name says otherwise; rounds of pruning as No & Park's"
"""Whose recipes the rows of EPSD's tables are on, for their readers."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all entries of a benchmark share, under one seed."""

    data: Prepare
    size: int
    resize_ratio: float = 1.0
    recipe: Recipe
    """Of every network, with labels alone or with self-distillation."""
    criterion: ProsPr = ProsPr()
    batch: int = 128
    """Images that weights are scored on at a time."""
    seed: int = 0

    def pruned(
        self,
        network: Model,
        sparsity: float,
        *,
        criterion: Criterion | None = None,
        method: SelfDistillation | None = None,
    ) -> PruneEarly:
        """A fresh network without some weights; with a method its loss scores them: the first step of EPSD."""
        return PruneEarly(
            network=network,
            criterion=criterion or self.criterion,
            sparsity=sparsity,
            method=method,
            data=self.data,
            augment=self.recipe.augment,
            batch=self.batch,
            seed=self.seed,
        )

    def thinned(
        self,
        network: Model,
        reduction: float,
        *,
        criterion: Criterion | None = None,
        method: SelfDistillation | None = None,
    ) -> PruneChannelsEarly:
        """The structured twin: whole channels go, until `reduction` of the MACs is gone."""
        return PruneChannelsEarly(
            network=network,
            criterion=criterion or self.criterion,
            reduction=reduction,
            method=method,
            data=self.data,
            augment=self.recipe.augment,
            batch=self.batch,
            seed=self.seed,
        )

    def alone(self, network: Model | PruneEarly | PruneChannelsEarly) -> Train:
        """Labels alone, for a dense network or what early pruning has left of it."""
        return Train(network=network, data=self.data, recipe=self.recipe, seed=self.seed)

    def taught(self, network: Model | PruneEarly | PruneChannelsEarly, method: SelfDistillation) -> SelfDistill:
        """Self-distillation of a dense or pruned network: the second step of EPSD."""
        return SelfDistill(network=network, method=method, data=self.data, recipe=self.recipe, seed=self.seed)

    def entry(self, name: str, network: Stage, *, against: tuple[str, ...] = ()) -> Entry:
        """Evaluated on val and train, and looked into on val."""
        evaluate = Evaluate(network=network, data=self.data, size=self.size, resize_ratio=self.resize_ratio)
        return Entry(
            name=name,
            evaluate=evaluate,
            train=replace(evaluate, split="train"),
            inspect=Inspect(network=network, data=self.data, size=self.size, resize_ratio=self.resize_ratio),
            against=against,
        )


def recipe(augment: Augment) -> Recipe:
    """Ours for small images, one for all: EPSD's are not established. Epochs and milestones are ProsPr's."""
    return Recipe(
        epochs=200,
        augment=augment,
        global_batch=128,
        batch_per_gpu=128,
        lr=0.1,
        weight_decay=5e-4,
        decay_all=True,
        milestones=(100, 150),
    )


def authors(common: Recipe) -> dict[str, Recipe]:
    """How the authors of CS-KD and PS-KD train on CIFAR; those of DLB name no epochs and no rate."""
    return {
        "CS-KD": replace(common, weight_decay=1e-4, nesterov=False),
        "PS-KD": replace(common, epochs=300, milestones=(150, 225)),
    }
