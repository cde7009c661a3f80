"""How closely features gather around the means of their classes.

Lives here: `Compactness`. Must not: loops over data, sums over ranks, which features (`harness.stages.inspect`).
"""

import torch
from torch import Tensor

from harness.errors import StageError

CONSTANT = 1e-12
"""Of the mean squared length of features: a variance below is rounding, for in fp32 each is told to 6e-8 of itself."""


class Compactness:
    """Counts of images, exact, and sums over the features of each class, in float64.

    All are tensors that may be added over ranks before `summary` is asked for. The variance within classes is a
    difference of sums of squares: of fp32 features all but a few of float64's sixteen digits survive it, unless their
    mean is many thousand times as long as their spread.
    """

    def __init__(self, classes: int, width: int, device: str) -> None:
        self.counts = torch.zeros(classes, dtype=torch.int64, device=device)
        self.sums = torch.zeros(classes, width, dtype=torch.float64, device=device)
        self.squares = torch.zeros(1, dtype=torch.float64, device=device)
        """Squared lengths of all features."""

    def see(self, features: Tensor, labels: Tensor) -> None:
        """Take in one batch: features (n, width), labels (n,)."""
        features = features.double()
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        self.sums.index_add_(0, labels, features)
        self.squares += features.square().sum()

    def summary(self) -> dict[str, float | None]:
        """The variance of the features, mean squared distance from their mean, in two parts that add up to it.

        `within`: mean squared distance of an image from the mean of its class. `between`: that of the class means from
        the mean of all, classes weighted by their images. `compactness`: between / (within + between), 0 .. 1 and
        higher where classes are more compact; None if all images have the same features. Six significant digits.
        Raises StageError if the features are not finite.
        """
        n, length = int(self.counts.sum()), float(self.squares)
        seen = self.counts > 0
        counts, sums = self.counts[seen].double(), self.sums[seen]
        means, overall = sums / counts[:, None], sums.sum(0) / n
        within = (length - float((counts * means.square().sum(1)).sum())) / n
        between = float((counts * (means - overall).square().sum(1)).sum()) / n
        total = within + between
        if not total < float("inf"):
            raise StageError("the features that the last linear layer reads are not finite")
        if total <= CONSTANT * length / n:
            return {"within": 0.0, "between": 0.0, "compactness": None}
        found = {"within": max(within, 0.0), "between": between, "compactness": min(between / total, 1.0)}
        return {name: float(f"{value:.6g}") for name, value in found.items()}
