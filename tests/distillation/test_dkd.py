"""Decoupled KD against the paper's equations, written out class by class in float64."""

from dataclasses import replace
from math import exp, log

import pytest
import torch

from harness.distillation.dkd import DKD
from harness.distillation.kd import KD
from harness.spec import encode, model_from_json
from tests.distillation.checks import BATCH, COUNT, LABELS, logits, require_slope


def by_hand(student: list[float], teacher: list[float], label: int, temperature: float) -> tuple[float, float]:
    """TCKD and NCKD of one image (equations 5 and 6), without weights."""

    def softened(row: list[float]) -> list[float]:
        total = sum(exp(x / temperature) for x in row)
        return [exp(x / temperature) / total for x in row]

    q, p = softened(student), softened(teacher)
    target = p[label] * log(p[label] / q[label]) + (1 - p[label]) * log((1 - p[label]) / (1 - q[label]))
    others = [c for c in range(len(p)) if c != label]
    p_hat, q_hat = ({c: row[c] / (1 - row[label]) for c in others} for row in (p, q))
    return target, sum(p_hat[c] * log(p_hat[c] / q_hat[c]) for c in others)


def test_the_defaults_are_the_papers_for_cifar() -> None:
    assert (DKD().alpha, DKD().beta, DKD().temperature, DKD().ce_weight) == (1, 8, 4, 1)
    assert DKD().warmup_epochs == 0


@pytest.mark.parametrize(("alpha", "beta", "temperature"), [(1.0, 8.0, 4.0), (1.0, 0.5, 1.0), (0.3, 2.0, 2.0)])
def test_both_parts_equal_the_formula(alpha: float, beta: float, temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    rows = zip(student.tolist(), teacher.tolist(), LABELS.tolist(), strict=True)
    parts = [by_hand(mine, theirs, label, temperature) for mine, theirs, label in rows]
    terms = DKD(alpha=alpha, beta=beta, temperature=temperature, ce_weight=2).terms(student, teacher, BATCH)
    square = temperature**2
    assert float(terms["target"]) == pytest.approx(alpha * square * sum(t for t, _ in parts) / COUNT, rel=1e-9)
    assert float(terms["non_target"]) == pytest.approx(beta * square * sum(n for _, n in parts) / COUNT, rel=1e-9)
    torch.testing.assert_close(terms["ce"], 2 * torch.nn.functional.cross_entropy(student, LABELS))


def test_weighted_as_kd_weighs_them_the_parts_are_kd() -> None:
    """Equation 7: KD = TCKD + (1 - p_target) NCKD; for one image both weights are numbers."""
    student, teacher, label = logits(0)[:1], logits(1)[:1], LABELS[:1]
    one = replace(BATCH, labels=label)
    rest = 1 - float((teacher / 4).softmax(dim=1)[0, label])
    terms = DKD(alpha=1, beta=rest, temperature=4).terms(student, teacher, one)
    kd = KD(temperature=4, kd_weight=1).terms(student, teacher, one)["kd"]
    assert float(terms["target"] + terms["non_target"]) == pytest.approx(float(kd), rel=1e-9)


@pytest.mark.parametrize("name", ["ce", "target", "non_target"])
def test_the_gradient_equals_finite_differences(name: str) -> None:
    require_slope(lambda student: DKD().terms(student, logits(1), BATCH)[name], logits(0))


def test_a_student_that_equals_its_teacher_has_nothing_to_distil() -> None:
    terms = DKD().terms(logits(0) + 7, logits(0), BATCH)
    assert float(terms["target"]) == pytest.approx(0, abs=1e-12)
    assert float(terms["non_target"]) == pytest.approx(0, abs=1e-12)


def test_both_parts_rise_over_the_warm_up_with_epochs_counted_from_one() -> None:
    """As in the official code: the first of four epochs has a quarter of the weight, the fourth all of it."""

    def terms(warmup: int, epoch: int) -> dict[str, float]:
        found = DKD(warmup_epochs=warmup).terms(logits(0), logits(1), replace(BATCH, epoch=epoch))
        return {name: float(term) for name, term in found.items()}

    full = terms(0, 0)
    for epoch, share in enumerate((0.25, 0.5, 0.75, 1, 1)):
        expected = {"ce": full["ce"], "target": share * full["target"], "non_target": share * full["non_target"]}
        assert terms(4, epoch) == pytest.approx(expected)


def test_a_student_without_a_warm_up_keeps_its_key() -> None:
    assert "warmup_epochs" not in encode(DKD())
    assert model_from_json(encode(DKD(warmup_epochs=20))).warmup_epochs == 20
