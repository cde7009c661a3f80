"""A history that no number of ranks changes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness.contracts import Memory, Sharded
from harness.course import Course, Ranks
from harness.self_distillation._history import History
from tests.distillation.checks import draw
from tests.self_distillation.checks import RECIPE, on_ranks

IMAGES, CLASSES = 11, 3
COURSE = Course(RECIPE, IMAGES, CLASSES)
PREDICTED = draw(IMAGES, CLASSES).softmax(dim=1).half().float()
SEEN = torch.tensor([[7, 2, 9, 0], [4, 10, 1, 6]])
"""Two micro-batches: of one rank, or one of each of two."""
ASKED = torch.tensor([9, 5, 10, 7])


def filled(ranks: Ranks) -> History:
    """After one step of two micro-batches."""
    history = History(replace(COURSE, ranks=ranks))
    for indices in SEEN[ranks.rank :: ranks.world]:
        history.note(indices, PREDICTED[indices])
    history.end_step(ranks.gather)
    return history


def known() -> Tensor:
    """What is to be remembered then: [images, classes], zeros for images 3, 5 and 8."""
    rows = PREDICTED.clone()
    rows[[3, 5, 8]] = 0
    return rows


def test_a_history_is_a_memory_of_which_each_rank_holds_a_part() -> None:
    history = History(COURSE)
    assert isinstance(history, Memory) and isinstance(history, Sharded)
    assert history.state_dict() == {}, "it is no state that all ranks hold alike"


@pytest.mark.parametrize("world", [1, 2])
def test_every_rank_is_told_what_any_rank_saw(world: int) -> None:
    def asked(ranks: Ranks) -> Tensor:
        return filled(ranks).rows(ASKED.roll(ranks.rank))

    for rank, rows in enumerate(on_ranks(world, asked)):
        assert rows.dtype == torch.float32
        assert torch.equal(rows, known()[ASKED.roll(rank)])


@pytest.mark.parametrize("world", [1, 2])
def test_a_rank_holds_its_share_of_the_images(world: int) -> None:
    shards = on_ranks(world, lambda ranks: filled(ranks).shard)
    assert [shard.shape for shard in shards] == [(-(-IMAGES // world), CLASSES)] * world
    for rank, shard in enumerate(shards):
        mine = known()[rank::world].half()
        assert torch.equal(shard[: len(mine)], mine)


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_the_whole_is_taken_up_on_another_number_of_ranks(before: int, after: int) -> None:
    def restored(ranks: Ranks) -> tuple[Tensor, Tensor]:
        history = History(replace(COURSE, ranks=ranks))
        history.restore(whole)
        return history.rows(ASKED), history.whole()

    whole = on_ranks(before, lambda ranks: _whole(ranks))[-1]
    assert torch.equal(whole, known().half())
    for rows, again in on_ranks(after, restored):
        assert torch.equal(rows, known()[ASKED])
        assert torch.equal(again, whole)


def test_the_next_step_replaces_what_it_saw_and_nothing_else() -> None:
    history = filled(Ranks())
    history.note(torch.tensor([2, 3]), torch.eye(3)[:2])
    history.end_step(Ranks().gather)
    expected = known()
    expected[[2, 3]] = torch.eye(3)[:2]
    assert torch.equal(history.whole(), expected.half())


def _whole(ranks: Ranks) -> Tensor:
    history = History(replace(COURSE, ranks=ranks))
    for indices in SEEN:  # every rank sees all: the same rows from everyone
        history.note(indices, PREDICTED[indices])
    history.end_step(ranks.gather)
    return history.whole()
