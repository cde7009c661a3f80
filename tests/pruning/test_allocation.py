"""A user says how a sparsity is spread over the layers, and gets exactly that."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from harness.errors import StageError, UserError
from harness.pruning.allocation import allocated_masks, masks_with_counts
from harness.pruning.mask import Masks
from harness.pruning.n_m import follows_n_m
from harness.pruning.scope import Scope
from harness.pruning.threshold import global_masks

SHAPES = {"stem": (5, 3, 3, 3), "body": (7, 5, 5, 3), "wide": (11, 7, 1, 1), "depthwise": (11, 1, 3, 3), "fc": (13, 11)}
EXACT: tuple[Scope, ...] = ("global", "layer", "uniform", "erk")
TOTAL = 135 + 525 + 77 + 99 + 143


def random_scores(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    # The layers lie in different ranges, as real ones do: a global threshold would empty some of them.
    return {name: torch.rand(shape, generator=generator) + n for n, (name, shape) in enumerate(SHAPES.items())}


def removed(masks: Masks) -> dict[str, int]:
    return {name: int((~mask).sum()) for name, mask in masks.items()}


def test_every_scope_that_knows_a_total_is_tested_here_and_the_others_are_patterns() -> None:
    assert set(get_args(Scope)) - set(EXACT) == {"2:4", "1:4", "4:8"}


@pytest.mark.parametrize("scope", EXACT)
@pytest.mark.parametrize("sparsity", [0.001, 0.2, 0.36, 0.5904, 0.8, 0.86])
def test_exactly_as_many_go_as_asked(scope: Scope, sparsity: float) -> None:
    masks = allocated_masks(random_scores(), sparsity, scope)
    assert sum(removed(masks).values()) == round(sparsity * TOTAL)
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == SHAPES


@pytest.mark.parametrize("scope", EXACT)
def test_rounds_of_a_fifth_end_where_they_should_and_nothing_comes_back(scope: Scope) -> None:
    masks = None
    for n in range(1, 8):
        before, masks = masks, allocated_masks(random_scores(seed=n), 1 - 0.8**n, scope, masks)
        assert sum(removed(masks).values()) == round((1 - 0.8**n) * TOTAL)
        assert before is None or all(not masks[name][~before[name]].any() for name in masks)


@pytest.mark.parametrize("scope", EXACT)
def test_in_each_layer_the_lowest_scores_go(scope: Scope) -> None:
    scores = random_scores()
    for name, mask in allocated_masks(scores, 0.6, scope).items():
        if mask.any() and not mask.all():
            assert scores[name][mask].min() > scores[name][~mask].max()


def test_global_is_one_threshold() -> None:
    first, second = allocated_masks(random_scores(), 0.5, "global"), global_masks(random_scores(), 0.5)
    assert all(torch.equal(first[name], second[name]) for name in SHAPES)


def test_layer_takes_the_same_share_of_each() -> None:
    for name, count in removed(allocated_masks(random_scores(), 0.36, "layer")).items():
        assert abs(count - 0.36 * torch.Size(SHAPES[name]).numel()) < 1


def test_what_rounding_leaves_goes_to_the_largest_remainders() -> None:
    scores = {"a": torch.rand(10), "b": torch.rand(7), "c": torch.rand(6)}
    # 9 of 23 stay: 3.913, 2.739 and 2.348, so the two that are missing to 9 go to a and b
    assert removed(allocated_masks(scores, 14 / 23, "layer")) == {"a": 6, "b": 4, "c": 4}


def test_uniform_leaves_the_first_layer_and_the_others_share_the_sparsity() -> None:
    counts = removed(allocated_masks(random_scores(), 0.6, "uniform"))
    assert counts.pop("stem") == 0
    for name, count in counts.items():
        assert abs(count - round(0.6 * TOTAL) / (TOTAL - 135) * torch.Size(SHAPES[name]).numel()) < 1


def test_uniform_refuses_what_the_other_layers_cannot_give() -> None:
    with pytest.raises(UserError, match="leaves stem dense"):
        allocated_masks(random_scores(), 0.9, "uniform")


def erk_densities(density: float) -> dict[str, float]:
    """The published loop: whichever layer is furthest above 1 becomes dense, one at a time, and eps starts again."""
    raw = {name: sum(shape) / torch.Size(shape).numel() for name, shape in SHAPES.items()}
    sizes = {name: torch.Size(shape).numel() for name, shape in SHAPES.items()}
    dense: set[str] = set()
    while True:
        keep = density * TOTAL - sum(sizes[name] for name in dense)
        eps = keep / sum(raw[name] * sizes[name] for name in SHAPES if name not in dense)
        highest = max((name for name in SHAPES if name not in dense), key=lambda name: raw[name])
        if raw[highest] * eps <= 1:
            return {name: 1.0 if name in dense else eps * raw[name] for name in SHAPES}
        dense.add(highest)


@pytest.mark.parametrize(("sparsity", "dense"), [(0.8, 0), (0.6, 1), (0.4, 3), (0.2, 4)])
def test_erk_is_the_published_one(sparsity: float, dense: int) -> None:
    densities = erk_densities(1 - sparsity)
    assert list(densities.values()).count(1.0) == dense
    for name, mask in allocated_masks(random_scores(), sparsity, "erk").items():
        assert abs(int(mask.sum()) - densities[name] * mask.numel()) < 1.5  # the total itself is rounded too


@pytest.mark.parametrize("scope", ["layer", "erk"])
def test_a_layer_that_has_lost_more_than_its_share_stays_and_the_others_keep_more(scope: Scope) -> None:
    masks = {name: torch.ones(shape, dtype=torch.bool) for name, shape in SHAPES.items()}
    masks["fc"].view(-1)[:140] = False
    after = allocated_masks(random_scores(), 0.5, scope, masks)
    assert torch.equal(after["fc"], masks["fc"])
    assert sum(removed(after).values()) == round(0.5 * TOTAL)
    fresh = removed(allocated_masks(random_scores(), 0.5, scope))
    assert all(count <= fresh[name] for name, count in removed(after).items() if name != "fc")


@pytest.mark.parametrize("scope", EXACT)
def test_less_than_what_is_removed_already_is_refused(scope: Scope) -> None:
    masks = global_masks(random_scores(), 0.5)
    with pytest.raises(UserError, match=r"0\.4 is below the 0\.5"):
        allocated_masks(random_scores(), 0.4, scope, masks)


@pytest.mark.parametrize("scope", get_args(Scope))
@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.5, 80, float("nan")])
def test_a_sparsity_that_is_no_fraction_is_refused(scope: Scope, sparsity: float) -> None:
    with pytest.raises(UserError, match="not between 0 and 1"):
        allocated_masks(random_scores(), sparsity, scope)


@pytest.mark.parametrize("scope", get_args(Scope))
def test_a_score_that_is_not_finite_stops_the_stage(scope: Scope) -> None:
    scores = {"first": torch.rand(4, 8), "second": torch.rand(8, 8)}
    scores["second"][3, 3] = torch.nan
    with pytest.raises(StageError, match="not all finite"):
        allocated_masks(scores, 0.75 if scope == "1:4" else 0.5, scope)


@pytest.mark.parametrize(("scope", "sparsity", "n", "m"), [("2:4", 0.5, 2, 4), ("1:4", 0.75, 1, 4), ("4:8", 0.5, 4, 8)])
def test_a_pattern_is_followed_wherever_it_fits(scope: Scope, sparsity: float, n: int, m: int) -> None:
    scores = {"stem": torch.rand(8, 3, 3, 3), "body": torch.rand(6, 16, 3, 3)}
    masks = allocated_masks(scores, sparsity, scope)
    assert masks["stem"].all()
    assert follows_n_m(masks["body"].float(), n, m)
    assert int(masks["body"].sum()) == (1 - sparsity) * masks["body"].numel()


def test_a_pattern_takes_its_own_sparsity_alone() -> None:
    with pytest.raises(UserError, match=r"'2:4' removes 0\.5 of the weights, not 0\.8"):
        allocated_masks(random_scores(), 0.8, "2:4")


def test_a_network_gets_the_layer_densities_of_another_and_nothing_else_of_it() -> None:
    pruned = global_masks(random_scores(), 0.7)
    shuffled = masks_with_counts(random_scores(seed=1), removed(pruned))
    assert removed(shuffled) == removed(pruned)
    assert removed(pruned) == {"stem": 135, "body": 525, "wide": 25, "depthwise": 0, "fc": 0}
    assert not torch.equal(shuffled["wide"], pruned["wide"])


def test_counts_include_what_is_gone_already() -> None:
    before = allocated_masks(random_scores(), 0.3, "layer")
    counts = {name: count + 2 for name, count in removed(before).items()}
    after = masks_with_counts(random_scores(seed=1), counts, before)
    assert removed(after) == counts
    assert all(not after[name][~before[name]].any() for name in after)


@pytest.mark.parametrize("count", [144, 41, -1])
def test_counts_that_do_not_fit_are_refused_by_the_name_of_the_layer(count: int) -> None:
    before = allocated_masks(random_scores(), 0.3, "layer")
    assert removed(before)["fc"] == 43
    with pytest.raises(UserError, match=f"fc cannot have {count} of 143"):
        masks_with_counts(random_scores(), removed(before) | {"fc": count}, before)


@pytest.mark.parametrize("counts", [{"stem": 1}, dict.fromkeys([*SHAPES, "head"], 0)])
def test_counts_of_another_network_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"(body|head) is not in both"):
        masks_with_counts(random_scores(), counts)
