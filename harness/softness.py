"""How soft a teacher's predictions are, and making another's as soft.

Lives here: the step towards the uniform distribution, the temperature of equal entropy, and the network with either.
Must not: loops over data, losses.
"""

import torch
from torch import Tensor, nn

from harness.errors import StageError


class UniformStep:
    """Sums over images that tell how much of the way from p to q is a step towards the uniform distribution u.

    Cross-entropy is linear in the teacher, so if q - p = smoothing (u - p), distilling from q is distilling from p with
    that much label smoothing. Predictions are at `temperature`; the sums are float64.
    """

    def __init__(self, temperature: float, device: str) -> None:
        self.temperature = temperature
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)

    def see(self, p_logits: Tensor, q_logits: Tensor) -> None:
        """Take in what both say about the same images: logits (n, classes)."""
        p, q = ((logits.double() / self.temperature).softmax(dim=1) for logits in (p_logits, q_logits))
        away, step = 1 / p.shape[1] - p, q - p
        along, length = (step * away).sum(1), away.square().sum(1)
        explained = torch.where(along > 0, along.square() / length.clamp(min=1e-300), 0.0)
        self.sums += torch.stack([along.sum(), length.sum(), explained.sum(), step.square().sum()])

    @property
    def smoothing(self) -> float:
        """The one step that fits all images best: sum <q - p, u - p> / sum |u - p|^2."""
        along, length = self.sums[:2].tolist()
        return along / length if length else 0.0

    @property
    def share(self) -> float:
        """Share of sum |q - p|^2 that is a step towards u, image by image; 0 if p is q or q is always the sharper one.

        The rest tells classes apart, or points away from u.
        """
        explained, whole = self.sums[2:].tolist()
        return explained / whole if whole else 0.0


class EntropyMatch:
    """Finds by which number p's logits are to be divided for q's mean entropy at `temperature`.

    Entropies of p are summed for a grid of divisors from 1/8 to 8, so that one pass over the images is enough.
    """

    def __init__(self, temperature: float, device: str) -> None:
        self.temperature = temperature
        self._divisors = torch.logspace(-3, 3, 97, base=2.0, dtype=torch.float64, device=device)
        self.sums = torch.zeros(len(self._divisors) + 1, dtype=torch.float64, device=device)

    def see(self, p_logits: Tensor, q_logits: Tensor) -> None:
        """Take in what both say about the same images: logits (n, classes)."""
        entropies = [_entropy(p_logits, self.temperature * float(divisor)) for divisor in self._divisors]
        self.sums += torch.stack([*entropies, _entropy(q_logits, self.temperature)])

    @property
    def divisor(self) -> float:
        """Interpolated on the grid. Raises StageError if it lies outside."""
        entropies, wanted = self.sums[:-1], self.sums[-1:]
        above = int(torch.searchsorted(entropies, wanted))
        if above in (0, len(entropies)):
            raise StageError("no temperature between an eighth and eight times the given one gives the same entropy")
        low, high = entropies[above - 1], entropies[above]
        logs = self._divisors.log()
        place = (wanted[0] - low) / (high - low)
        return float((logs[above - 1] + place * (logs[above] - logs[above - 1])).exp())


class Softened(nn.Module):
    """A network whose predictions at `temperature` are mixed with the uniform distribution, its logits divided first.

    Guesses stay what they are.
    """

    def __init__(self, network: nn.Module, *, divisor: float, smoothing: float, temperature: float) -> None:
        super().__init__()
        self.network, self.divisor, self.smoothing, self.temperature = network, divisor, smoothing, temperature

    def forward(self, images: Tensor) -> Tensor:
        """Logits z with softmax(z / temperature) as wanted."""
        logits: Tensor = self.network(images).float() / self.divisor
        if self.smoothing == 0:
            return logits
        soft = (logits / self.temperature).softmax(dim=1)
        return self.temperature * torch.log((1 - self.smoothing) * soft + self.smoothing / soft.shape[1])


def _entropy(logits: Tensor, temperature: float) -> Tensor:
    """Sum over images, in nats."""
    logs = (logits.double() / temperature).log_softmax(dim=1)
    return -(logs.exp() * logs).sum()
