"""Sums over predictions, from which accuracy, confidence and calibration follow.

Lives here: `Tally`. Must not: loops over data, sums over ranks.
"""

import math
from typing import Any

import torch
from torch import Tensor

from harness.errors import StageError
from harness.metrics import correct

BINS = 15
"""Of the calibration error, equally wide (Guo et al., ICML 2017)."""


class Tally:
    """Counts of hits, exact, and sums of what the softmax at temperature 1 says, in float64.

    Both are tensors that may be added over ranks before `summary` is asked for.
    """

    def __init__(self, device: str) -> None:
        self.counts = torch.zeros(3 + 2 * BINS, dtype=torch.int64, device=device)
        """Images, hits, hits among the first five; images of each bin, hits of each bin."""
        self.sums = torch.zeros(5 + BINS, dtype=torch.float64, device=device)
        """Negative log-likelihood, entropy, confidence, margin, spread of the logits; confidence of each bin."""

    def see(self, logits: Tensor, labels: Tensor) -> None:
        """Take in one batch: logits (n, classes), labels (n,)."""
        logs = logits.double().log_softmax(dim=1)
        probabilities = logs.exp()
        best = probabilities.topk(min(2, logits.shape[1]), dim=1)
        confidence, margin = best.values[:, 0], best.values[:, 0] - best.values[:, -1]
        hits = correct(logits, labels, (1, 5))
        right = (best.indices[:, 0] == labels).long()
        bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
        images = torch.bincount(bins, minlength=BINS)
        right_of_bins = torch.zeros_like(images).index_add_(0, bins, right)
        self.counts += torch.cat([hits.new_tensor([len(labels)]), hits, images, right_of_bins])
        totals = [
            -logs.gather(1, labels[:, None]).sum(),
            -(probabilities * logs).sum(),
            confidence.sum(),
            margin.sum(),
            logits.double().std(dim=1, correction=0).sum(),
        ]
        self.sums += torch.cat([torch.stack(totals), torch.bincount(bins, confidence, minlength=BINS)])

    def summary(self) -> dict[str, Any]:
        """Hits as whole numbers, the rest as means over images; the entropy in nats.

        `margin`: largest less second probability. `ece`: expected calibration error. Raises StageError if one of
        them is not finite.
        """
        n, hits1, hits5 = self.counts[:3].tolist()
        means = [value / n for value in self.sums[:5].tolist()]
        gaps = (self.sums[5:] - self.counts[3 + BINS :]).abs().sum()
        names = ("nll", "entropy", "confidence", "margin", "logit_std")
        values = {**dict(zip(names, means, strict=True)), "ece": float(gaps) / n}
        if not all(math.isfinite(value) for value in values.values()):
            raise StageError(f"what the network says is not finite: {values}")
        return {"n": n, "hits1": hits1, "hits5": hits5} | {name: round(value, 6) for name, value in values.items()}
