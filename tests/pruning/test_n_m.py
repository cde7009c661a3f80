"""A user wants a pattern that sparse tensor cores can skip."""

import pytest
import torch

from harness.errors import StageError
from harness.pruning.n_m import follows_n_m, n_m_masks


def test_of_four_neighbouring_inputs_the_best_two_stay_in_every_output_and_kernel_position() -> None:
    score = torch.randn(3, 8, 2, 2)
    kept = n_m_masks({"conv": score}, 2, 4)["conv"]
    for o in range(3):
        for y in range(2):
            for x in range(2):
                for start in (0, 4):
                    group = score[o, start : start + 4, y, x].tolist()
                    best = sorted(range(4), key=group.__getitem__)[2:]
                    assert kept[o, start : start + 4, y, x].nonzero().flatten().tolist() == sorted(best)


def test_a_linear_layer_is_grouped_along_its_inputs() -> None:
    score = torch.tensor([[1.0, 2, 3, 4, 8, 7, 6, 5]])
    assert n_m_masks({"fc": score}, 1, 4)["fc"].tolist() == [[False, False, False, True, True, False, False, False]]


def test_equal_scores_go_from_the_front() -> None:
    assert n_m_masks({"fc": torch.ones(1, 4)}, 2, 4)["fc"].tolist() == [[False, False, True, True]]


def test_removed_weights_are_among_those_of_their_group_and_stay_removed() -> None:
    score = torch.tensor([[9.0, 1, 2, 3, 9, 9, 9, 1]])
    before = torch.tensor([[False, True, True, True, False, False, False, True]])
    after = n_m_masks({"fc": score}, 2, 4, {"fc": before})["fc"]
    assert after.tolist() == [[False, False, True, True, False, False, False, True]]


def test_a_layer_that_does_not_divide_keeps_what_it_has() -> None:
    before = torch.rand(4, 3, 3, 3) > 0.5
    after = n_m_masks({"stem": torch.rand(4, 3, 3, 3)}, 2, 4, {"stem": before})["stem"]
    assert torch.equal(after, before)
    after.zero_()
    assert before.any()  # a copy
    assert n_m_masks({"stem": torch.rand(4, 3, 3, 3)}, 2, 4)["stem"].all()


def test_a_score_that_is_not_finite_stops_the_stage_unless_its_weight_is_gone() -> None:
    score = torch.tensor([[1.0, torch.inf, 2, 3]])
    with pytest.raises(StageError, match="the scores of fc"):
        n_m_masks({"fc": score}, 2, 4)
    before = torch.tensor([[True, False, True, True]])
    assert n_m_masks({"fc": score}, 2, 4, {"fc": before})["fc"].tolist() == [[False, False, True, True]]


def test_the_pattern_is_recognised_in_weights() -> None:
    weight = torch.tensor([[0.0, 0, 1, -1, 0, 2, 0, 0]])
    assert follows_n_m(weight, 2, 4)
    assert follows_n_m(weight, 4, 8)
    assert not follows_n_m(weight, 1, 4)
    assert not follows_n_m(weight.T.reshape(8, 1), 2, 4)  # one input: no groups
    conv = torch.zeros(1, 4, 2, 2)
    conv[0, :2] = 1
    assert follows_n_m(conv, 2, 4)
    conv[0, 3, 1, 1] = 1  # a third input, at one position alone
    assert not follows_n_m(conv, 2, 4)
