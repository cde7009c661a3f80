"""Logit standardisation against numpy's z-scores."""

import numpy as np
import pytest

from harness.distillation.standardised_kd import StandardisedKD
from tests.distillation.checks import BATCH, logits, require_slope


def test_the_defaults_are_the_papers() -> None:
    method = StandardisedKD()
    assert (method.temperature, method.kd_weight, method.ce_weight) == (2, 9, 1)


@pytest.mark.parametrize(("temperature", "kd_weight"), [(2.0, 9.0), (1.0, 0.5)])
def test_the_term_equals_the_formula(temperature: float, kd_weight: float) -> None:
    def softened(rows: np.ndarray) -> np.ndarray:
        scores = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, ddof=1, keepdims=True)
        raised = np.exp(scores / temperature)
        return raised / raised.sum(axis=1, keepdims=True)

    q, p = softened(logits(0).numpy()), softened(logits(1).numpy())
    expected = kd_weight * temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()
    terms = StandardisedKD(temperature=temperature, kd_weight=kd_weight).terms(logits(0), logits(1), BATCH)
    assert float(terms["kd"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["ce", "kd"])
def test_the_gradient_equals_finite_differences(name: str) -> None:
    require_slope(lambda student: StandardisedKD().terms(student, logits(1), BATCH)[name], logits(0))


def test_mean_and_spread_of_the_logits_are_the_students_own() -> None:
    assert float(StandardisedKD().terms(logits(0) * 5 + 7, logits(0), BATCH)["kd"]) == pytest.approx(0, abs=1e-12)
