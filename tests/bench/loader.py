"""`make bench`: a training epoch of 224-pixel crops, against torchvision's ImageFolder behind torch's DataLoader.

The images are JPEG files of about 500x375, made here, or those of the folder that is named. One worker on each side.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from harness.data.augment import Augment
from harness.data.image_folder import ImageFolder
from harness.data.stream import TrainStream
from harness.data.writer import write
from tests.bench.interleaved import compare

IMAGES, BATCH = 256, 32


def main() -> None:
    """Print one line for each way of storing."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else photographs(Path(scratch) / "photos")
        for max_side in (400, 500):
            print(against_torchvision(root, Path(scratch) / f"{max_side}.beton", max_side))


def against_torchvision(root: Path, beton: Path, max_side: int) -> str:
    """The line for images stored with at most this many pixels a side."""
    source = ImageFolder(name="bench", max_side=max_side)
    images = source.split("train", root)
    write(
        images, beton, max_side=max_side, jpeg_share=source.jpeg_share, quality=source.quality, workers=2,
        progress=lambda done, total: None,
    )  # fmt: skip
    stream = TrainStream(
        path=beton, augment=Augment(crop="resized", size=224), mean=source.mean, std=source.std, seed=0,
        global_batch=BATCH, batch_per_gpu=BATCH, rank=0, world=1, workers=1, device="cpu", channels_last=True,
    )  # fmt: skip
    mean, std = ([v / 255 for v in values] for values in (source.mean, source.std))
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    pictures = datasets.ImageFolder(str(root / "train"), transforms.Compose([*steps, transforms.Normalize(mean, std)]))
    loader = DataLoader(pictures, BATCH, shuffle=True, num_workers=1, drop_last=True, persistent_workers=True)

    def ours() -> None:
        assert sum(len(batch.labels) for batch in stream.epoch(0)) == len(loader) * BATCH

    def theirs() -> None:
        assert sum(len(labels) for _, labels in loader) == len(loader) * BATCH

    return compare(f"loader, {len(images)} images, stored at {max_side}", ours, theirs, "torchvision and DataLoader")


def photographs(root: Path) -> Path:
    """JPEG files with edges and noise, as photographs have them."""
    rng = np.random.default_rng(0)
    for split, count in (("train", IMAGES), ("val", 1)):
        folder = root / split / "only"
        folder.mkdir(parents=True)
        for number in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
            noisy = np.asarray(coarse).astype(int) + rng.integers(-12, 13, (375, 500, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
    return root


if __name__ == "__main__":
    main()
