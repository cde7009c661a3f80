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
from typing import ClassVar, Final

from harness.context import Context
from harness.data.source import Images, Source, Split
from harness.journal import Journal
from harness.spec import Json, Stage

SPLITS: Final[tuple[Split, ...]] = ("train", "val")
TELL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Prepare(Stage):
    """Writes `train.beton`, `val.beton` and `data.json`; every image is decoded once and an unreadable one named.

    An attempt that is killed is taken up by the next one, as long as the folder lists the same images.
    """

    version: ClassVar[int] = 2  # the fingerprint is of what the images hold
    source: Source

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.data.prepared import Facts

        splits = {split: self.source.split(split, context.data) for split in SPLITS}
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
            listing={split: images.listing for split, images in splits.items()},
        )
        facts.write(context.folder)
        return asdict(facts)

    def _write(self, split: Split, images: Images, context: Context) -> str:
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


def fingerprint(splits: Mapping[Split, Images], contents: Mapping[Split, str]) -> str:
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
