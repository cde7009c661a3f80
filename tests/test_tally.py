"""Accuracy, confidence and calibration agree with a slow reading of their definitions."""

import numpy as np
import pytest
import torch

from harness.errors import StageError
from harness.tally import BINS, Tally

LOGITS = torch.randn(500, 7, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.randint(0, 7, (500,), generator=torch.Generator().manual_seed(1))
LABELS[::2] = LOGITS[::2].argmax(1)


def summary(*sizes: int) -> dict[str, float]:
    tally, start = Tally("cpu"), 0
    for size in sizes:
        tally.see(LOGITS[start : start + size], LABELS[start : start + size])
        start += size
    return tally.summary()


def test_every_figure_is_that_of_its_definition() -> None:
    logits, labels = LOGITS.double().numpy(), LABELS.numpy()
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    ordered = np.sort(p, axis=1)
    hit = p.argmax(1) == labels
    ece = 0.0
    for number in range(BINS):
        inside = (ordered[:, -1] > number / BINS) & (ordered[:, -1] <= (number + 1) / BINS)
        if inside.any():
            ece += inside.mean() * abs(hit[inside].mean() - ordered[inside, -1].mean())
    expected = {
        "n": 500,
        "hits1": int(hit.sum()),
        "hits5": int(sum(label in row.argsort()[-5:] for label, row in zip(labels, p, strict=True))),
        "nll": -np.log(p[np.arange(500), labels]).mean(),
        "entropy": -(p * np.log(p)).sum(1).mean(),
        "confidence": ordered[:, -1].mean(),
        "margin": (ordered[:, -1] - ordered[:, -2]).mean(),
        "logit_std": logits.std(1).mean(),
        "ece": ece,
    }
    assert summary(500) == pytest.approx(expected, abs=1e-6)
    assert 0.1 < ece < 0.9, "labels that are half noise are badly calibrated for"


def test_batches_of_any_size_add_up_to_the_same() -> None:
    assert summary(500) == summary(1, 99, 400)


def test_a_sure_and_right_network_is_calibrated() -> None:
    tally = Tally("cpu")
    tally.see(torch.eye(3) * 100, torch.arange(3))
    found = tally.summary()
    assert (found["hits1"], found["ece"], found["confidence"], found["entropy"]) == (3, 0, 1, 0)


def test_outputs_that_are_not_finite_are_refused() -> None:
    tally = Tally("cpu")
    tally.see(torch.tensor([[float("nan"), 0.0]]), torch.tensor([0]))
    with pytest.raises(StageError, match="not finite"):
        tally.summary()
