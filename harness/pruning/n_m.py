"""n:m sparsity: at most n of every m neighbouring inputs of an output.

Lives here: masks of that pattern, and the test for it. Must not: scores (`harness.criteria`), touching a network.

A group are m weights next to each other along dimension 1, the input channels, for one output and one position in the
kernel: what sparse tensor cores skip (Mishra et al., arXiv 2104.08378).
"""

import torch
from torch import Tensor

from harness.errors import StageError
from harness.pruning.mask import Masks


def n_m_masks(scores: dict[str, Tensor], n: int, m: int, masks: Masks | None = None) -> Masks:
    """Masks that keep the n highest scores of every group of m; equal scores go in order of position.

    A layer whose dimension 1 does not divide by m keeps what it has, the first convolution for one. Weights that
    `masks` removed stay removed and are among the m - n of their group; where that is more, no other goes. Raises
    StageError if a score is not finite.
    """
    return {name: _kept(name, score, n, m, masks[name] if masks else None) for name, score in scores.items()}


def follows_n_m(weight: Tensor, n: int, m: int) -> bool:
    """Whether every group of m has at most n weights that are not 0; False if dimension 1 does not divide by m."""
    return weight.shape[1] % m == 0 and bool((_groups(weight, m).count_nonzero(-1) <= n).all())


def _kept(name: str, score: Tensor, n: int, m: int, mask: Tensor | None) -> Tensor:
    if mask is None:
        mask = torch.ones_like(score, dtype=torch.bool)
    if not score[mask].isfinite().all():
        raise StageError(f"the scores of {name} are not all finite: look at the criterion and at the network's weights")
    if score.shape[1] % m:
        return mask.clone()
    order = _groups(score.float().masked_fill(~mask, -torch.inf), m).argsort(dim=-1, stable=True)
    kept = torch.ones_like(order, dtype=torch.bool).scatter_(-1, order[..., : m - n], False)
    return kept.flatten(-2).movedim(-1, 1) & mask


def _groups(weight: Tensor, m: int) -> Tensor:
    """(out, in, ...) -> (out, ..., in / m, m)."""
    last = weight.movedim(1, -1)
    return last.reshape(*last.shape[:-1], -1, m)
