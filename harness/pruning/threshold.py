"""Which weights go: one threshold over all layers.

Lives here: scores and a sparsity -> masks. Must not: scores themselves (`harness.criteria`), touching a network.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from harness.errors import StageError, UserError
from harness.pruning.mask import Masks
from harness.pruning.scope import require_sparsity

_LOWEST = torch.iinfo(torch.int32).min
_BUCKETS = 1 << 16
_FINITE = slice(0x0080, 0xFF80)  # buckets of the keys of finite numbers; beyond them lie the infinities and nan


def global_masks(scores: dict[str, Tensor], sparsity: float, masks: Masks | None = None) -> Masks:
    """Masks that remove exactly round(sparsity * N) of the N scored weights: the lowest scores of all layers together.

    Weights that `masks` removed already count towards the sparsity and stay removed. Equal scores go in order of
    position: layers as in `scores`, then row-major. Scores are compared as float32, and the choice is exact.
    Raises UserError if the sparsity is outside (0, 1) or below what is removed already, StageError if a score is not
    finite.
    """
    return remove_lowest(scores, count_to_remove(scores, sparsity, masks), masks)


def count_to_remove(scores: dict[str, Tensor], sparsity: float, masks: Masks | None = None) -> int:
    """round(sparsity * N), the weights that `masks` removed already included. Raises UserError as `global_masks`."""
    require_sparsity(sparsity)
    total = sum(score.numel() for score in scores.values())
    before = _removed(masks)
    count = round(sparsity * total)
    if count < before:
        raise UserError(
            f"sparsity {sparsity} is below the {before / total:.4f} removed already: ask for more, or start dense"
        )
    return count


def remove_lowest(scores: dict[str, Tensor], count: int, masks: Masks | None = None) -> Masks:
    """Masks that remove exactly `count` weights, from those that `masks` removed already to all; see `global_masks`."""

    def keys(name: str) -> Tensor:  # made anew in each pass: all of them at once would double the memory
        return _keys(scores[name], masks[name] if masks else None)

    total = sum(score.numel() for score in scores.values())
    cut, ties = _select(lambda: map(keys, scores), count, total - _removed(masks))
    kept = {}
    for name in scores:
        key = keys(name)
        keep = key >= cut
        if ties > 0:
            equal = (key == cut).nonzero().squeeze(1)[:ties]
            keep[equal] = False
            ties -= len(equal)
        kept[name] = keep.view(scores[name].shape)
    return kept


def _removed(masks: Masks | None) -> int:
    return sum(mask.numel() - int(mask.count_nonzero()) for mask in masks.values()) if masks else 0


def _keys(score: Tensor, mask: Tensor | None) -> Tensor:
    """Flat int32 keys in the order of the scores; removed weights come first."""
    bits = score.detach().flatten().float().add(0.0).view(torch.int32)  # + 0.0: -0.0 and 0.0 are one score
    keys = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # the bits of a negative float fall as it rises: turn them round
    if mask is not None:
        keys.masked_fill_(~mask.flatten(), _LOWEST)
    return keys


def _select(layers: Callable[[], Iterable[Tensor]], count: int, alive: int) -> tuple[int, int]:
    """The `count`-th lowest key of all layers, and how many of the keys equal to it are among those `count`.

    A radix selection: a histogram of the upper 16 bits finds the bucket, one of the lower 16 bits the key in it.
    """
    upper = sum((_histogram((key >> 16) + _BUCKETS // 2) for key in layers()), torch.zeros((), dtype=torch.int64))
    if int(upper[_FINITE].sum()) != alive:
        raise StageError("the pruning scores are not all finite: look at the criterion and at the network's weights")
    bucket, count = _locate(upper, count)
    bucket -= _BUCKETS // 2
    lower = torch.cat([key[(key >> 16) == bucket] for key in layers()]) & (_BUCKETS - 1)
    low, count = _locate(_histogram(lower), count)
    return bucket * _BUCKETS + low, count


def _histogram(values: Tensor) -> Tensor:
    return torch.bincount(values, minlength=_BUCKETS)


def _locate(counts: Tensor, rank: int) -> tuple[int, int]:
    """The bucket that holds the `rank`-th element (from 1), and its rank within the bucket."""
    ends = counts.cumsum(0)
    bucket = int(torch.searchsorted(ends, rank))
    return bucket, rank - int(ends[bucket] - counts[bucket])
