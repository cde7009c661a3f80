"""A prepared data set: FFCV files and the facts about them.

Lives here: reading a `Prepare` artefact and opening its streams. Must not: FFCV itself (`harness.data._ffcv`).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.batch import Mates
from harness.context import Context
from harness.data.stream import EvalStream, TrainStream
from harness.recipe import Recipe

FACTS = "data.json"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What every row tells about its images. `mean` and `std` per channel, 0..255."""

    name: str
    classes: int
    images: dict[str, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    """`10 classes, 1437 train + 360 val images, sha256 <64 digits>`, of every image's content in order."""
    listing: dict[str, str]
    """The source's `listing` of each split; quick to compare with a folder."""

    def write(self, folder: Path) -> None:
        """Leave `data.json` in the folder."""
        (folder / FACTS).write_text(json.dumps(asdict(self), sort_keys=True, indent=1) + "\n")


@dataclass(frozen=True)
class Prepared:
    """The folder of a finished `Prepare` stage."""

    folder: Path

    @property
    def facts(self) -> Facts:
        """The facts written beside the image files."""
        return Facts(**json.loads((self.folder / FACTS).read_text()))

    def train_stream(self, recipe: Recipe, seed: int, context: Context, mates: Mates = "none") -> TrainStream:
        """This rank's part of the training stream: a pure function of (seed, epoch, position)."""
        facts = self.facts
        return TrainStream(
            path=self.folder / "train.beton",
            augment=recipe.augment,
            mean=facts.mean,
            std=facts.std,
            seed=seed,
            batch_per_gpu=recipe.batch_per_gpu,
            accumulation=recipe.accumulation(context.topology.world),
            rank=context.topology.rank,
            world=context.topology.world,
            workers=context.workers,
            patience_s=context.patience_s,
            device=context.device,
            channels_last=recipe.channels_last,
            mates=mates,
            first_epoch=recipe.first_epoch,
        )

    def eval_stream(self, split: str, size: int, resize_ratio: float, batch: int, context: Context) -> EvalStream:
        """This rank's share of a split: over all ranks every image exactly once."""
        facts = self.facts
        return EvalStream(
            path=self.folder / f"{split}.beton",
            size=size,
            resize_ratio=resize_ratio,
            mean=facts.mean,
            std=facts.std,
            batch=batch,
            rank=context.topology.rank,
            world=context.topology.world,
            workers=context.workers,
            patience_s=context.patience_s,
            device=context.device,
            channels_last=True,
        )
