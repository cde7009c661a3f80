"""Stage `prepare`: raw images in, FFCV files out.

Lives here: the stage. Must not: reading images (`harness.data` sources) or writing them (`harness.data._ffcv`).
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.context import Context
from harness.data.source import Source, Split
from harness.journal import Journal
from harness.spec import Json, Stage

SPLITS: Final[tuple[Split, ...]] = ("train", "val")
TELL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Prepare(Stage):
    """Writes `train.beton`, `val.beton` and `data.json`; every image is decoded once and an unreadable one named."""

    source: Source

    def run(self, inputs: Mapping[str, Path], context: Context) -> dict[str, Json]:
        from harness.data.prepared import Facts
        from harness.data.writer import write

        self.source.check(context.data)
        splits = {split: self.source.split(split, context.data) for split in SPLITS}
        for split, images in splits.items():
            write(
                images,
                context.folder / f"{split}.beton",
                max_side=self.source.max_side,
                jpeg_share=self.source.jpeg_share,
                quality=self.source.quality,
                workers=context.workers,
                progress=_Teller(split, context.journal),
            )
        facts = Facts(
            name=self.source.name,
            classes=len(splits["train"].class_names),
            images={split: len(images) for split, images in splits.items()},
            mean=self.source.mean,
            std=self.source.std,
            fingerprint=hashlib.sha256("".join(images.fingerprint for images in splits.values()).encode()).hexdigest(),
            listing=self.source.listing(context.data),
        )
        facts.write(context.folder)
        return asdict(facts)


class _Teller:
    """Tells the journal how far a split is, once a second at most."""

    def __init__(self, split: str, journal: Journal) -> None:
        self.split, self.journal = split, journal
        self.started = self.told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self.told < TELL_SECONDS:
            return
        self.told = now
        rate = done / max(now - self.started, 1e-9)
        left = (total - done) / rate
        self.journal.write(
            "images", split=self.split, done=done, of=total, images_per_s=round(rate, 1), seconds_left=round(left, 1)
        )
