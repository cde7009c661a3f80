"""Rows of a benchmark that nobody ran."""

import dataclasses
from typing import Any

from harness.row import Row

IMAGES = "10 classes, 5000 train + 1000 val images, sha256 feedbeef" + "0" * 56

ROW = Row(
    benchmark="toy", suite="full", entry="dense", position=0, dataset="d", seed=0,
    top1=91.5, top1_low=89.25, top1_high=93.5, top5=99.0, n=1000,
    parameters=12345, nonzeros=1234, teacher_nonzeros=None, sparsity=0.9, layers=None, gradient_flow=None, macs=10**9,
    epoch_rule="last", protocol="", promised=None, source=None, against=[],
    confidence=0.9, entropy=0.25, nll=0.3, ece=0.02, margin=0.8, logit_std=2.5, compactness=None,
    train_top1=None, train_confidence=None, train_entropy=None, train_nll=None, train_ece=None, train_margin=None,
    train_logit_std=None, gap=None, agreement=None,
    smoothing=None, smoothing_share=None, smoothing_t10=None, smoothing_share_t10=None,
    losses=None, image_passes=4000, device_seconds=80.0, stages={"dense 0": ["train", 4000, 80.0]},
    key="ab" * 32, fingerprint=IMAGES, ranks=4, device="cpu",
    git_hash=None, git_dirty=None, versions={"torch": "2.13.0", "python": "3.11.7"},
)  # fmt: skip


def over_seeds(entry: str, position: int, top1: list[float], **fields: Any) -> list[Row]:
    """A row for each top1, of seeds 0, 1, ...; their keys name entry and seed."""
    return [
        dataclasses.replace(ROW, entry=entry, position=position, top1=value, seed=seed, key=f"{entry} {seed}", **fields)
        for seed, value in enumerate(top1)
    ]


def with_values(rows: list[Row], **values: list[Any]) -> list[Row]:
    """The same rows, each with its own value of some fields."""
    return [
        dataclasses.replace(row, **{name: of_seeds[i] for name, of_seeds in values.items()})
        for i, row in enumerate(rows)
    ]
