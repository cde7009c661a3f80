"""A user asks for a sparsity and gets exactly it."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from harness.criteria.magnitude import Magnitude
from harness.errors import StageError, UserError
from harness.models.resnet import ResNet
from harness.models.vgg import VGG, vgg
from harness.objective import CrossEntropy
from harness.pruning import mask
from harness.pruning.threshold import global_masks, remove_lowest


def random_scores(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (7, 3, 3, 3), "b": (1001,), "c": (50, 40)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def by_sorting(scores: dict[str, Tensor], count: int, masks: mask.Masks | None = None) -> mask.Masks:
    """The plain way: sort everything, the removed first, equal scores by position."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    if masks is not None:
        flat = flat.masked_fill(~torch.cat([m.flatten() for m in masks.values()]), -torch.inf)
    keep = torch.ones(len(flat), dtype=torch.bool)
    keep[flat.argsort(stable=True)[:count]] = False
    parts = keep.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def same(first: mask.Masks, second: mask.Masks) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def removed(masks: mask.Masks) -> int:
    return sum(int((~m).sum()) for m in masks.values())


@pytest.mark.parametrize("sparsity", [1e-6, 0.0003, 0.2, 0.36, 0.5, 0.79, 0.9999])
def test_the_lowest_scores_go_whatever_their_sign_and_exactly_as_many_as_asked(sparsity: float) -> None:
    scores = random_scores()
    count = round(sparsity * 3190)
    masks = global_masks(scores, sparsity)
    assert removed(masks) == count
    assert same(masks, by_sorting(scores, count))


def test_scores_that_agree_in_their_upper_bits_are_told_apart() -> None:
    scores = {name: 1 + score * 1e-6 for name, score in random_scores().items()}
    assert same(global_masks(scores, 0.4), by_sorting(scores, 1276))


@pytest.mark.parametrize("decimals", [0, 1])
def test_ties_are_broken_by_position(decimals: int) -> None:
    scores = {name: score.round(decimals=decimals) for name, score in random_scores().items()}  # holds -0.0 and 0.0
    for sparsity in (0.3, 0.5, 0.7):
        assert same(global_masks(scores, sparsity), by_sorting(scores, round(sparsity * 3190)))


def test_equal_scores_go_from_the_front() -> None:
    masks = global_masks({"a": torch.ones(4), "b": torch.ones(4)}, 0.75)
    assert [m.tolist() for m in masks.values()] == [[False] * 4, [False, False, True, True]]


def test_what_was_removed_counts_and_is_never_revived() -> None:
    masks = global_masks(random_scores(seed=1), 0.5)
    fresh = random_scores(seed=2)  # scores for which a removed weight would look important
    more = global_masks(fresh, 0.6, masks)
    assert removed(more) == round(0.6 * 3190)
    assert all(not more[name][~masks[name]].any() for name in masks)
    assert same(more, by_sorting(fresh, removed(more), masks))
    assert same(global_masks(fresh, 0.5, masks), masks)  # already there: nothing to do


def test_seven_rounds_of_twenty_percent_remove_79_percent() -> None:
    masks = None
    for n in range(1, 8):
        masks = global_masks(random_scores(seed=n), 1 - 0.8**n, masks)
    assert masks is not None and removed(masks) == round(0.7902848 * 3190)


@pytest.mark.parametrize("count", [0, 1, 3189, 3190])
def test_a_count_may_be_anything_from_none_to_all(count: int) -> None:
    assert same(remove_lowest(random_scores(), count), by_sorting(random_scores(), count))


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.2, 80, float("nan")])
def test_a_sparsity_that_is_no_fraction_is_refused(sparsity: float) -> None:
    with pytest.raises(UserError, match="not between 0 and 1"):
        global_masks(random_scores(), sparsity)


def test_less_than_what_is_removed_already_is_refused() -> None:
    masks = global_masks(random_scores(), 0.5)
    with pytest.raises(UserError, match=r"0\.4 is below the 0\.5000"):
        global_masks(random_scores(), 0.4, masks)


@pytest.mark.parametrize("bad", [float("nan"), float("-nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_stops_the_stage(bad: float) -> None:
    scores = random_scores()
    scores["b"][5] = bad
    with pytest.raises(StageError, match="finite"):
        global_masks(scores, 0.5)
    masks = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    masks["b"][5] = False
    assert not global_masks(scores, 0.5, masks)["b"][5]  # the score of a removed weight is nobody's business


def test_the_largest_finite_scores_are_fine() -> None:
    largest = torch.finfo(torch.float32).max
    assert global_masks({"a": torch.tensor([largest, -largest])}, 0.5)["a"].tolist() == [True, False]


@pytest.mark.parametrize(
    "spec",
    [ResNet(depth=18, classes=5, widths=(8, 16, 16, 16), stem_width=8), vgg(depth=19, classes=100)],
    ids=["resnet18", "vgg19"],
)
def test_torch_removes_the_same_weights(spec: ResNet | VGG) -> None:
    torch.manual_seed(1)  # of weights that are equal to the last bit torch takes any: here none lie at the cut
    network = spec.build()
    scores = Magnitude().score(network, [], CrossEntropy())
    masks = global_masks(scores, 0.8)
    layers = [(layer, "weight") for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.8)
    theirs = {name: network.get_buffer(f"{name}_mask").bool() for name in masks}
    assert all(torch.equal(kept, theirs[name]) for name, kept in masks.items())


def test_the_rounds_of_a_vgg19_end_at_36_59_and_79_percent() -> None:
    torch.manual_seed(0)
    scores = Magnitude().score(vgg(depth=19, classes=100).build(), [], CrossEntropy())
    total, masks, reached = sum(score.numel() for score in scores.values()), None, []
    for n in (2, 4, 7):
        masks = global_masks(scores, 1 - 0.8**n, masks)
        assert abs(removed(masks) - (1 - 0.8**n) * total) <= 1
        reached.append(round(100 * removed(masks) / total, 2))
    assert reached == [36.0, 59.04, 79.03]
