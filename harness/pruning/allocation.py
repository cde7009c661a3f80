"""How many weights each layer gives, for a sparsity in all.

Lives here: the scopes' counts, and masks with them. Must not: scores (`harness.criteria`), finding a threshold
(`harness.pruning.threshold`), touching a network.
"""

from torch import Tensor

from harness.errors import UserError
from harness.pruning.mask import Masks
from harness.pruning.n_m import n_m_masks
from harness.pruning.scope import Scope, n_of_m, require_sparsity
from harness.pruning.threshold import count_to_remove, remove_lowest


def allocated_masks(scores: dict[str, Tensor], sparsity: float, scope: Scope, masks: Masks | None = None) -> Masks:
    """Masks that remove exactly round(sparsity * N) of the N scored weights, spread over the layers as `scope` says.

    Within a layer the lowest scores go, equal ones in order of position. Weights that `masks` removed already count and
    stay removed: where a layer has lost more than its share it stays as it is, and the others keep more, so that the
    total is exact. Under n:m the sparsity is that of the layers the pattern fits; see `n_m_masks`.
    Raises UserError if the sparsity is outside (0, 1), below what is removed already, or not to be had in this
    scope; StageError if a score is not finite.
    """
    require_sparsity(sparsity, scope)
    pattern = n_of_m(scope)
    if pattern:
        return n_m_masks(scores, *pattern, masks)
    count = count_to_remove(scores, sparsity, masks)
    if scope == "global":
        return remove_lowest(scores, count, masks)
    return masks_with_counts(scores, _removed_by_layer(scores, count, scope, masks), masks)


def masks_with_counts(scores: dict[str, Tensor], removed: dict[str, int], masks: Masks | None = None) -> Masks:
    """Masks that remove exactly `removed[name]` weights of each layer, its lowest scores; earlier ones among them.

    With random scores this gives a network the layer densities of another one and nothing else of it. Raises UserError
    that names the layer if a count is missing, below what is removed already or above the layer's size.
    """
    if odd := sorted(set(scores) ^ set(removed)):
        raise UserError(f"{odd[0]} is not in both the network and the counts: take counts of the same architecture")
    kept: Masks = {}
    for name, score in scores.items():
        alone = {name: masks[name]} if masks else None
        before = _removed(name, masks)
        if not before <= removed[name] <= score.numel():
            raise UserError(
                f"{name} cannot have {removed[name]} of {score.numel()} weights removed, {before} are already: "
                "take counts that fit"
            )
        kept |= remove_lowest({name: score}, removed[name], alone)
    return kept


def _removed_by_layer(scores: dict[str, Tensor], count: int, scope: Scope, masks: Masks | None) -> dict[str, int]:
    """How many weights each layer has lost once `count` are gone in all, those of earlier rounds included."""
    sizes = {name: score.numel() for name, score in scores.items()}
    limits = {name: size - _removed(name, masks) for name, size in sizes.items()}
    shares = dict(sizes)
    keep = sum(sizes.values()) - count
    kept = {}
    if scope == "uniform":  # RigL's uniform: a first layer is small and hurts most (Evci et al., ICML 2020)
        first = next(iter(sizes))
        kept[first] = limits.pop(first)
        if kept[first] > keep:
            raise UserError(f"scope 'uniform' leaves {first} dense, and that alone is more than may stay: ask for less")
    elif scope == "erk":  # density ~ sum of the dimensions / product of them, so weights ~ their sum (the same paper)
        shares = {name: sum(score.shape) for name, score in scores.items()}
    kept |= _fill(keep - sum(kept.values()), {name: shares[name] for name in limits}, limits)
    return {name: size - kept[name] for name, size in sizes.items()}


def _fill(total: int, shares: dict[str, int], limits: dict[str, int]) -> dict[str, int]:
    """`total`, which the limits must hold, split in proportion to `shares` with nothing above its limit.

    What rounding down leaves goes to the largest remainders, one each.
    """
    free, full = dict(shares), {}
    while over := [name for name in free if total * free[name] >= limits[name] * sum(free.values())]:
        for name in over:
            del free[name]
            full[name] = limits[name]
        total -= sum(full[name] for name in over)
    whole = sum(free.values())
    parts = {name: divmod(total * share, whole) for name, share in free.items()}
    left = total - sum(part for part, _ in parts.values())
    luckiest = sorted(parts, key=lambda name: -parts[name][1])[:left]
    return full | {name: part + (name in luckiest) for name, (part, _) in parts.items()}


def _removed(name: str, masks: Masks | None) -> int:
    return masks[name].numel() - int(masks[name].count_nonzero()) if masks else 0
