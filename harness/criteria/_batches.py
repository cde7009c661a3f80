"""How a criterion takes its share of the training stream.

Lives here: `take`, `take_exactly`, and the check of a criterion's field `batches`. Must not: torch, formulas.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from harness.errors import StageError, UserError

if TYPE_CHECKING:
    from harness.batch import Batch


def require_positive(batches: int) -> None:
    """Raise UserError if a criterion is told to look at no batch at all."""
    if batches < 1:
        raise UserError(f"a criterion cannot score on {batches} batches: set its field batches to 1 or more")


def take(batches: "Iterable[Batch]", count: int) -> "Iterator[Batch]":
    """The first `count` batches, or all there are; none more is drawn. Raises StageError if there is none."""
    taken = 0
    for batch in islice(batches, count):
        taken += 1
        yield batch
    if taken == 0:
        raise StageError("no training batch came to score the weights on: this criterion needs at least one")


def take_exactly(batches: "Iterable[Batch]", count: int) -> "list[Batch]":
    """The first `count` batches, 1 or more. Raises StageError if there are fewer."""
    taken = list(take(batches, count))
    if len(taken) < count:
        raise StageError(
            f"only {len(taken)} training batches came to score the weights on: this criterion needs {count}"
        )
    return taken
