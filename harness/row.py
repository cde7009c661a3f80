"""The one flat result row: what is recorded of every evaluated network.

Lives here: names, types, units and direction of a row's fields, and its JSON. Must not: tables.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import UserError


def column(meaning: str, *, better: Literal["higher", "lower"] | None = None) -> Any:
    """A field of a row: what it means, in which unit, and which direction is good."""
    return dataclasses.field(metadata={"meaning": meaning, "better": better})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One evaluated network. A value that is not established is None, and blank in a table."""

    benchmark: str = column("benchmark the entry belongs to")
    suite: str = column("suite of the benchmark")
    entry: str = column("name of the entry")
    position: int = column("place of the entry in its suite")
    dataset: str = column("name of the image set")
    seed: int | None = column("seed of the network's own training")
    top1: float = column("correct first guesses, percent", better="higher")
    top1_low: float = column("lower end of the 95 % Wilson interval over n images, percent")
    top1_high: float = column("upper end of it, percent")
    top5: float = column("label among the first five guesses, percent", better="higher")
    n: int = column("evaluated images")
    parameters: int = column("trained numbers in the network", better="lower")
    nonzeros: int = column("those that are not pruned", better="lower")
    teacher_nonzeros: int | None = column("those of the pruned teacher that a formed student is read off")
    sparsity: float = column("share of prunable weights that is zero")
    layers: list[list[Any]] | None = column(
        "name of each prunable weight in the network's order, how many it keeps, all"
    )
    gradient_flow: float | None = column(
        "squared norm of the loss gradient after pruning at initialisation over that before it"
    )
    macs: int = column("multiply-accumulates of one image, dense", better="lower")
    epoch_rule: str = column("which epoch is kept: last, best on minival")
    protocol: str = column("what a reader must know of the suite")
    promised: float | None = column("top1 that the benchmark promises, percent")
    source: str | None = column("where the promise comes from")
    against: list[str] = column("names of the entries it is compared with")
    confidence: float = column("mean of the largest probability")
    entropy: float = column("mean entropy of the predictions, nats")
    nll: float = column("mean negative log-likelihood of the labels, nats", better="lower")
    ece: float = column("expected calibration error", better="lower")
    margin: float = column("mean distance of the two largest probabilities")
    logit_std: float = column("mean standard deviation of the logits of an image")
    compactness: float | None = column("share of the variance of features that lies between classes", better="higher")
    train_top1: float | None = column("top1 on the training images, percent")
    train_confidence: float | None = column("confidence on the training images")
    train_entropy: float | None = column("entropy on the training images, nats")
    train_nll: float | None = column("nll on the training images, nats")
    train_ece: float | None = column("ece on the training images")
    train_margin: float | None = column("margin on the training images")
    train_logit_std: float | None = column("logit_std on the training images")
    gap: float | None = column("train_top1 - top1, percent points", better="lower")
    agreement: float | None = column("images on which student and teacher guess alike, percent")
    smoothing: float | None = column("step from the dense teacher's predictions towards the uniform distribution")
    smoothing_share: float | None = column("share of the difference between them that lies along it")
    smoothing_t10: float | None = column("the step at temperature 10")
    smoothing_share_t10: float | None = column("the share at temperature 10")
    losses: list[float] | None = column("mean training loss of each epoch")
    image_passes: int = column("images seen by the network and all it was made from, each stage once", better="lower")
    device_seconds: float = column("seconds times ranks of the same stages", better="lower")
    stages: dict[str, list[Any]] = column("these stages by key: name, image passes, device seconds")
    key: str = column("key of the evaluation")
    fingerprint: str = column("fingerprint of the raw images")
    ranks: int = column("processes that evaluated")
    device: str = column("what they ran on")
    git_hash: str | None = column("commit of the code")
    git_dirty: bool | None = column("whether tracked files differed from it")
    versions: dict[str, str | None] = column("package versions")


def to_json(row: Row) -> str:
    """Indented text, the same for the same row. Raises UserError for a number that is not finite."""
    for name, value in dataclasses.asdict(row).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"row {row.entry!r}: {name} is {value}")
    return json.dumps(dataclasses.asdict(row), sort_keys=True, indent=1, allow_nan=False) + "\n"


def from_json(text: str) -> Row:
    """Inverse of `to_json`. Raises UserError on missing or unknown fields."""
    try:
        return Row(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise UserError(f"not a result row: {error}") from error
