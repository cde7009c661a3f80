"""Stage `prepare`: raw images in, FFCV files out.

Lives here: the stage. Must not: reading images (`harness.data` sources) or writing them (`harness.data._ffcv`).
"""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from harness.context import Context
from harness.data.source import Images, Source
from harness.errors import UserError
from harness.journal import Journal
from harness.spec import Json, Stage, added_field

TELL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Prepare(Stage):
    """Writes `<split>.beton` and `data.json`; every image is decoded once and an unreadable one named.

    The splits are `train`, `val` and, if asked for, `minival`: training images set aside to make choices on.

    An attempt that is killed is taken up by the next one, as long as the folder lists the same images.
    """

    version: ClassVar[int] = 2  # the fingerprint is of what the images hold
    computes: ClassVar[bool] = False
    source: Source
    minival: float = added_field(default=0.0, neutral=0.0)
    """Share of the training images of every class that becomes the minival; 0 for none."""
    minival_seed: int = added_field(default=0, neutral=0)

    def __post_init__(self) -> None:
        if not 0 <= self.minival < 1:
            raise UserError(f"minival {self.minival} is a share of the training images: at least 0 and below 1")

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.data.prepared import Facts

        splits = self._splits(context.data)
        context.unfinished.mkdir(parents=True, exist_ok=True)
        contents = {split: self._write(split, images, context) for split, images in splits.items()}
        for split in splits:
            _hand_over(context.unfinished / f"{split}.beton", context.folder)
        facts = Facts(
            name=self.source.name,
            classes=len(splits["train"].class_names),
            images={split: len(images) for split, images in splits.items()},
            mean=self.source.mean,
            std=self.source.std,
            fingerprint=fingerprint(splits, contents),
            listing={str(split): text for split, text in self.source.listing(context.data).items()},
        )
        facts.write(context.folder)
        return asdict(facts)

    def _splits(self, root: Path | None) -> dict[str, Images]:
        train, val = self.source.split("train", root), self.source.split("val", root)
        if not self.minival:
            return {"train": train, "val": val}
        from harness.data._minival import cut

        rest, minival = cut(train, self.minival, self.minival_seed)
        return {"train": rest, "minival": minival, "val": val}

    def _write(self, split: str, images: Images, context: Context) -> str:
        from harness.data.writer import write

        return write(
            images,
            context.unfinished / f"{split}.beton",
            max_side=self.source.max_side,
            jpeg_share=self.source.jpeg_share,
            quality=self.source.quality,
            workers=context.workers,
            patience_s=context.patience_s,
            progress=_Teller(split, context.journal),
        )


def fingerprint(splits: Mapping[str, Images], contents: Mapping[str, str]) -> str:
    """Counts for a person, and a SHA-256 over class names, labels and the digest of every image in order.

    `contents` holds what `write` returned for each split. File names other than those of classes are no part of it.
    """
    names = splits["train"].class_names
    whole = [list(names), *([split, list(images.labels), contents[split]] for split, images in splits.items())]
    counts = " + ".join(f"{len(images)} {split}" for split, images in splits.items())
    return f"{len(names)} classes, {counts} images, sha256 {hashlib.sha256(json.dumps(whole).encode()).hexdigest()}"


def _hand_over(file: Path, folder: Path) -> None:
    """Into the artefact: by a link where the file system can, so that a kill before it is published loses nothing."""
    try:
        os.link(file, folder / file.name)
    except OSError:
        os.rename(file, folder / file.name)


class _Teller:
    """Tells the journal how far a split is, once a second at most, and the pace of the last ten tellings."""

    def __init__(self, split: str, journal: Journal) -> None:
        self.split, self.journal = split, journal
        self.told = deque([(time.monotonic(), 0)], maxlen=10)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self.told[-1][0] < TELL_SECONDS:
            return
        then, before = self.told[0]
        rate = (done - before) / max(now - then, 1e-9)
        left = (total - done) / rate
        self.told.append((now, done))
        self.journal.write(
            "images", split=self.split, done=done, of=total, images_per_s=round(rate, 1), seconds_left=round(left, 1)
        )
