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
    sparsity: float = column("share of prunable weights that is zero")
    macs: int = column("multiply-accumulates of one image, dense", better="lower")
    promised: float | None = column("top1 that the benchmark promises, percent")
    source: str | None = column("where the promise comes from")
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
