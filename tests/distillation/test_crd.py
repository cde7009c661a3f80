"""The contrastive loss against the paper's equations in float64, and a memory that no number of ranks changes."""

import copy
from dataclasses import replace
from math import exp, log, sqrt

import pytest
import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.distillation._contrast import Contrast
from harness.distillation.crd import CRD
from tests.distillation.checks import BATCH, COUNT, draw, outputs, require_slope

IMAGES, DIM, DRAWN = 20, 4, 9
METHOD = CRD(student_layers=("0",), teacher_layers=("0",), dim=DIM, negatives=DRAWN)
STUDENT, TEACHER = draw(COUNT, 3, 1, 1), draw(COUNT, 5, seed=1)


@pytest.fixture
def adapters() -> Contrast:
    torch.manual_seed(0)
    made = METHOD.adapters({"0": (3, 1, 1)}, {"0": (5,)}, IMAGES).double()
    assert isinstance(made, Contrast)
    return made


def crd(adapters: nn.Module, student: Tensor = STUDENT, method: CRD = METHOD, batch: Batch = BATCH) -> Tensor:
    """With the negatives of one seed."""
    torch.manual_seed(5)
    return method.terms(outputs(student), outputs(TEACHER), batch, adapters)["crd"]


def negatives(count: int = DRAWN) -> list[list[int]]:
    torch.manual_seed(5)
    return torch.randint(IMAGES, (COUNT, count)).tolist()


def embedded(adapters: Contrast, number: int, features: Tensor) -> list[list[float]]:
    weight, bias = adapters.embed[number].parameters()
    rows = (features.flatten(1) @ weight.T + bias).tolist()
    return [[x / sqrt(sum(y * y for y in row)) for x in row] for row in rows]


def by_hand(adapters: Contrast, z: tuple[float, float] | None) -> tuple[float, list[float]]:
    """Equations 18 and 19 for both networks as anchors, and the estimates of both normalisers."""
    loss, estimates = 0.0, []
    for anchor, features in enumerate((STUDENT, TEACHER)):
        mine, memory = embedded(adapters, anchor, features), adapters.memory[1 - anchor].tolist()
        rows = [
            [
                exp(sum(a * b for a, b in zip(memory[i], mine[n], strict=True)) / METHOD.temperature)
                for i in (own, *drawn)
            ]
            for n, (own, drawn) in enumerate(zip(BATCH.indices.tolist(), negatives(), strict=True))
        ]
        estimates.append(IMAGES * sum(map(sum, rows)) / (COUNT * (1 + DRAWN)))
        noise = DRAWN / IMAGES
        for itself, *others in ([x / (z[anchor] if z else estimates[anchor]) for x in row] for row in rows):
            loss -= log(itself / (itself + noise + 1e-7)) / COUNT
            loss -= sum(log(noise / (other + noise + 1e-7)) for other in others) / COUNT
    return METHOD.feature_weight * loss, estimates


def test_the_defaults_are_the_papers() -> None:
    assert (CRD().dim, CRD().negatives, CRD().temperature, CRD().momentum) == (128, 16384, 0.07, 0.5)
    assert (CRD().feature_weight, CRD().ce_weight) == (0.8, 1)


def test_the_loss_equals_the_formula_before_and_after_the_normalisers_are_known(adapters: Contrast) -> None:
    expected, _ = by_hand(adapters, z=None)
    assert crd(adapters).item() == pytest.approx(expected, rel=1e-9)
    adapters.normaliser.copy_(torch.tensor([3.0, 40.0]))
    expected, _ = by_hand(adapters, z=(3.0, 40.0))
    assert crd(adapters).item() == pytest.approx(expected, rel=1e-9)


def test_the_first_step_decides_the_normalisers_for_good(adapters: Contrast) -> None:
    _, estimates = by_hand(adapters, z=None)
    for _ in range(2):
        crd(adapters)
        adapters.end_step(one_rank)
        assert adapters.normaliser.tolist() == pytest.approx(estimates, rel=1e-9)


def test_the_gradient_equals_finite_differences(adapters: Contrast) -> None:
    adapters.normaliser.fill_(30.0)  # an estimate would move with the student
    require_slope(lambda student: crd(adapters, student), STUDENT)


def test_no_more_negatives_are_drawn_than_there_are_images(adapters: Contrast) -> None:
    many, all_of_them = (replace(METHOD, negatives=count) for count in (16384, IMAGES))
    assert torch.equal(crd(adapters, method=many), crd(adapters, method=all_of_them))


def test_negatives_follow_torchs_generator(adapters: Contrast) -> None:
    again = crd(adapters)
    assert torch.equal(again, crd(adapters))
    other = METHOD.terms(outputs(STUDENT), outputs(TEACHER), BATCH, adapters)["crd"]
    assert not torch.equal(again, other)


def test_the_memory_begins_with_vectors_of_about_unit_length() -> None:
    memory = CRD().adapters({"avgpool": (6, 1, 1)}, {"avgpool": (9, 1, 1)}, 50).memory
    assert isinstance(memory, Tensor)
    assert memory.shape == (2, 50, 128)
    torch.testing.assert_close(memory.norm(dim=2), torch.ones(2, 50), rtol=0, atol=0.3)


def test_a_step_moves_the_images_it_met_and_no_others(adapters: Contrast) -> None:
    before = adapters.memory.clone()
    crd(adapters)
    assert torch.equal(adapters.memory, before), "nothing moves within a step"
    adapters.end_step(one_rank)
    for number, features in enumerate((STUDENT, TEACHER)):
        for index, new in zip(BATCH.indices.tolist(), embedded(adapters, number, features), strict=True):
            mixed = [(old + x) / 2 for old, x in zip(before[number, index].tolist(), new, strict=True)]
            length = sqrt(sum(x * x for x in mixed))
            assert adapters.memory[number, index].tolist() == pytest.approx([x / length for x in mixed])
    met = set(BATCH.indices.tolist())
    others = [index for index in range(IMAGES) if index not in met]
    assert torch.equal(adapters.memory[:, others], before[:, others])
    before = adapters.memory.clone()
    crd(adapters, batch=replace(BATCH, indices=torch.tensor(others[:COUNT])))
    adapters.end_step(one_rank)
    assert torch.equal(adapters.memory[:, list(met)], before[:, list(met)]), "the step before is over"


def test_of_an_image_met_twice_in_a_step_the_last_position_is_remembered(adapters: Contrast) -> None:
    twice = replace(BATCH, indices=torch.tensor([7, 3, 7, 0, 5, 3]))
    last = replace(BATCH, indices=torch.tensor([11, 12, 7, 0, 5, 3]))
    other = copy.deepcopy(adapters)
    for module, batch in ((adapters, twice), (other, last)):
        crd(module, batch=batch)
        module.end_step(one_rank)
    assert torch.equal(adapters.memory[:, [0, 3, 5, 7]], other.memory[:, [0, 3, 5, 7]])


@pytest.mark.parametrize("later_rank", [0, 1])
def test_two_ranks_remember_what_one_does(adapters: Contrast, later_rank: int) -> None:
    """Two micro-batches of three images, with image 7 in both: the later position counts, not the higher rank."""
    first = Batch(BATCH.images, BATCH.labels[:3], torch.tensor([7, 3, 11]), position=0)
    second = Batch(BATCH.images, BATCH.labels[3:], torch.tensor([0, 7, 2]), position=3)
    alone, lower, upper = adapters, copy.deepcopy(adapters), copy.deepcopy(adapters)
    for module, batches in ((alone, (first, second)), (lower, (first,)), (upper, (second,))):
        for batch in batches:
            rows = slice(batch.position, batch.position + 3)
            torch.manual_seed(batch.position)
            module(STUDENT[rows].flatten(1), TEACHER[rows], batch, DRAWN, METHOD.temperature)
    alone.end_step(one_rank)
    sent: list[Tensor] = []
    copy.deepcopy(upper).end_step(lambda values: sent.append(values) or values[None])  # type: ignore[func-returns-value]
    lower.end_step(lambda values: torch.stack([values, sent.pop(0)] if later_rank else [sent.pop(0), values]))
    assert torch.equal(lower.memory, alone.memory)
    assert torch.equal(lower.normaliser, alone.normaliser)


def one_rank(values: Tensor) -> Tensor:
    """What `gather_from_ranks` makes where there is one."""
    return values[None]
