"""PS-KD against the paper's equation, class by class in float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.objective import SelfDistilled
from harness.self_distillation.ps_kd import PSKD
from tests.distillation.checks import BATCH, CLASSES, LABELS, logits, require_slope
from tests.self_distillation.checks import COURSE, RECIPE, cross_entropy, one_hot, saying, softmax, terms

PAST = logits(1).softmax(dim=1)


def mixed(share: float, past: list[list[float]]) -> list[list[float]]:
    return [
        [(1 - share) * label + share * p for label, p in zip(*rows, strict=True)]
        for rows in zip(one_hot(), past, strict=True)
    ]


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.2), (1, 0.4), (3, 0.8)])
def test_labels_give_way_to_the_past_as_epochs_pass(epoch: int, share: float) -> None:
    """Four epochs: the last one has the full weight of 0.8."""
    assert RECIPE.epochs == 4
    found = terms(PSKD(), logits(0), replace(BATCH, epoch=epoch), PAST)
    past = [softmax(row) for row in logits(1).tolist()]
    assert list(found) == ["ce"]
    assert found["ce"].item() == pytest.approx(cross_entropy(logits(0), mixed(share, past)), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_an_empty_history_it_is_cross_entropy(dtype: torch.dtype) -> None:
    said = logits().to(dtype)
    objective = SelfDistilled(PSKD(), torch.nn.Linear(1, 1), COURSE)
    last = replace(BATCH, epoch=3)
    found = objective.terms(saying(said), last, objective.given(saying(said), last))
    assert torch.equal(found["ce"], F.cross_entropy(said, F.one_hot(LABELS, CLASSES).to(dtype)))
    torch.testing.assert_close(found["ce"], F.cross_entropy(said, LABELS))  # which adds up in another order


def test_only_images_that_were_never_seen_have_their_label_alone() -> None:
    past = PAST.clone()
    past[2] = 0
    targets = mixed(0.8, past.tolist())
    targets[2] = one_hot()[2]
    found = terms(PSKD(), logits(0), replace(BATCH, epoch=3), past)
    assert found["ce"].item() == pytest.approx(cross_entropy(logits(0), targets), rel=1e-9)


def test_the_gradient_equals_finite_differences() -> None:
    require_slope(lambda said: terms(PSKD(), said, replace(BATCH, epoch=2), PAST)["ce"], logits(0))


def test_what_was_predicted_comes_back_an_epoch_later_in_any_order() -> None:
    def given(batch_order: list[int]) -> Tensor:
        batch = replace(BATCH, epoch=1, indices=BATCH.indices[batch_order])
        found = objective.given(saying(logits(2)), batch)
        assert isinstance(found, Tensor)
        return found

    objective = SelfDistilled(PSKD(), torch.nn.Linear(1, 1), COURSE)
    objective.terms(saying(logits(1)), BATCH, objective.given(saying(logits(1)), BATCH))
    assert not given([0, 1, 2]).any(), "nothing is remembered within a step"
    objective.end_step()
    torch.testing.assert_close(given([4, 0, 3]), PAST[[4, 0, 3]].float(), rtol=1e-3, atol=1e-7)  # half precision


def test_the_size_of_the_history_is_known_beforehand() -> None:
    assert 1_281_167 * PSKD().bytes_an_image(1000) == 2_562_334_000
    shard = PSKD().beside(torch.nn.Linear(1, 1), COURSE).shard
    assert COURSE.images * PSKD().bytes_an_image(COURSE.classes) == shard.nbytes


def test_the_default_is_the_papers() -> None:
    assert PSKD().alpha == 0.8
