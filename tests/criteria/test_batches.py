"""A criterion takes its share of the stream, and no more."""

from collections.abc import Iterator
from typing import Any

import pytest
from torch import nn

from harness.batch import Batch
from harness.criteria._batches import take, take_exactly
from harness.criteria.confidence import Confidence
from harness.criteria.grasp import GraSP
from harness.criteria.prospr import ProsPr
from harness.criteria.snip import Snip
from harness.criteria.synflow import SynFlow
from harness.criteria.taylor import Taylor
from harness.errors import StageError, UserError
from harness.objective import CrossEntropy


def test_of_an_endless_stream_only_as_many_as_asked_are_drawn(batches: list[Batch]) -> None:
    def stream() -> Iterator[Batch]:
        for _ in range(3):
            yield batches[0]
        raise AssertionError("a fourth batch was asked for")

    assert len(list(take(stream(), 3))) == 3


def test_fewer_than_asked_are_fine(batches: list[Batch]) -> None:
    assert list(take(batches, 30)) == batches


def test_fewer_than_exactly_so_many_are_not(batches: list[Batch]) -> None:
    assert take_exactly(batches, 2) == batches
    with pytest.raises(StageError, match="only 2 training batches"):
        take_exactly(batches, 3)


@pytest.mark.parametrize(
    "criterion",
    [Confidence(), GraSP(), ProsPr(), Snip(), SynFlow(), Taylor()],
    ids=lambda criterion: type(criterion).__name__,
)
def test_a_criterion_that_needs_images_says_so_when_there_are_none(criterion: Any, perceptron: nn.Sequential) -> None:
    with pytest.raises(StageError, match="no training batch"):
        criterion.score(perceptron, [], CrossEntropy())


@pytest.mark.parametrize("criterion", [Confidence, GraSP, Snip, Taylor])
def test_to_look_at_no_batch_is_no_spec(criterion: Any) -> None:
    with pytest.raises(UserError, match="0 batches"):
        criterion(batches=0)
