"""What the two measurements of reading have in common: photographs, the file prepared from them, the stream of it.

Lives here: `Photographs`. Must not: baselines, measuring.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor, float32
from torchvision.datasets.folder import is_image_file

from harness.data.augment import Augment
from harness.data.image_folder import ImageFolder
from harness.data.stream import TrainStream
from harness.data.writer import write
from harness.errors import StageError, UserError

SIZE, BATCH = 224, 64
MADE_UP, MOST = 512, 2048
"""How many images are made up, and how many are taken of a folder at most."""
SOURCE = ImageFolder(name="speed")


@dataclass(frozen=True)
class Photographs:
    """Whole batches of image files, ROOT/train/<class>/*."""

    root: Path
    count: int
    origin: str
    """For a reader."""

    @classmethod
    def of(cls, data: Path | None, scratch: Path) -> "Photographs":
        """Of the training images in `data`, evenly spaced; else made up. Raises UserError if there is not one batch."""
        root = scratch / "photographs"
        if data is None:
            make_up(root / "train" / "only")
        else:
            link(data, root)
        (root / "val").symlink_to("train")  # nobody reads it, but a data folder has both
        count = len(SOURCE.split("train", root))
        return cls(root, count, f"{count} {'made-up JPEGs of 500x375' if data is None else 'images of a folder'}")

    def prepare(self, path: Path, *, max_side: int | None) -> None:
        """Write them to a file as the stage `prepare` does: half of them stay JPEG, half become plain pixels."""
        write(
            SOURCE.split("train", self.root), path, max_side=max_side, jpeg_share=SOURCE.jpeg_share,
            quality=SOURCE.quality, workers=2, patience_s=60.0, progress=lambda *_: None,
        )  # fmt: skip

    def stream(self, path: Path, *, workers: int) -> TrainStream:
        """The seeded stream of a prepared file, on the CPU."""
        return TrainStream(
            path=path, augment=Augment(crop="resized", size=SIZE), mean=SOURCE.mean, std=SOURCE.std, seed=0,
            batch_per_gpu=BATCH, accumulation=1, rank=0, world=1, workers=workers, patience_s=60.0, device="cpu",
            channels_last=True,
        )  # fmt: skip

    def consume(self, batches: Iterable[Tensor]) -> None:
        """Take an epoch to its end. Raises StageError unless every image came, as float32 [3, 224, 224]."""
        count = 0
        for batch in batches:
            if batch.shape != (BATCH, 3, SIZE, SIZE) or batch.dtype != float32:
                raise StageError(f"a batch is {batch.dtype} {list(batch.shape)}: the sides do not do the same work")
            count += len(batch)
        if count != self.count:
            raise StageError(f"an epoch gave {count} images of {self.count}: the sides do not do the same work")


def link(data: Path, root: Path) -> None:
    """Choose at most MOST of the training images and link them in `root`. Raises UserError if there are too few."""
    SOURCE.check(data)
    found = sorted(path for path in (data / "train").glob("[!.]*/[!.]*") if is_image_file(path.name))
    chosen = found[:: math.ceil(len(found) / MOST)]
    chosen = chosen[: len(chosen) // BATCH * BATCH]
    if not chosen:
        raise UserError(
            f"{data / 'train'} holds {len(found)} images, fewer than a batch of {BATCH}: name more with --data"
        )
    for path in chosen:
        folder = root / "train" / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).symlink_to(path.resolve())


def make_up(folder: Path) -> None:
    """JPEG files with edges and noise, as photographs have them."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(MADE_UP):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
        noisy = np.asarray(coarse).astype(int) + rng.integers(-12, 13, (375, 500, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
