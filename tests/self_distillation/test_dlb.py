"""DLB against the paper's equation in float64, and a memory that no number of ranks changes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.course import Course, Ranks
from harness.objective import SelfDistilled
from harness.self_distillation.dlb import DLB
from tests.distillation.checks import BATCH, CLASSES, COUNT, LABELS, draw, logits, require_slope
from tests.self_distillation.checks import COURSE, RECIPE, cross_entropy, divergence, on_ranks, one_hot, terms

OLD = LABELS.roll(1)
PAIRED = replace(BATCH, mates=replace(BATCH, labels=OLD))
BOTH = torch.cat([logits(0), logits(1)])


@pytest.mark.parametrize(("temperature", "weight"), [(3.0, 1.0), (1.0, 0.5)])
def test_both_terms_equal_the_formula(temperature: float, weight: float) -> None:
    found = terms(DLB(temperature=temperature, weight=weight), BOTH, PAIRED, logits(2))
    expected = weight * temperature**2 * divergence(logits(2), logits(1), temperature)
    assert list(found) == ["ce", "previous"]
    assert found["ce"].item() == pytest.approx(cross_entropy(BOTH, one_hot() + one_hot(OLD)), rel=1e-9)
    assert found["previous"].item() == pytest.approx(expected, rel=1e-9)


def test_the_gradient_equals_finite_differences() -> None:
    require_slope(lambda said: terms(DLB(), said, PAIRED, logits(2))["previous"], BOTH)


def test_the_defaults() -> None:
    assert (DLB().temperature, DLB().weight) == (3, 1)


class Trained(nn.Module):
    """Its predictions change from update to update, and one image's depend on no other image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(draw(3, CLASSES, seed=7).float())
        self.updates = 0

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) + self.updates) @ self.weight


def micro_batch(step: int, lane: int, lanes: int) -> Batch:
    """Two images; the mates are another view of those in the same place of the step before."""
    seed = 10 * step + lane
    images, view = draw(2, 3, 1, 1, seed=seed).float(), draw(2, 3, 1, 1, seed=seed + 100).float()
    mates = Batch(view, LABELS[:2], torch.arange(2)) if step else None
    return Batch(images, LABELS[1:3], torch.arange(2), position=2 * (step * lanes + lane), mates=mates)


def taught(ranks: Ranks, lanes: int = 2) -> dict[tuple[int, int], Tensor | None]:
    """What each (step, lane) of this rank is given, in three steps of `lanes` micro-batches over all ranks."""
    recipe = replace(RECIPE, global_batch=2 * lanes, batch_per_gpu=2)
    network, found = Trained(), {}
    objective = SelfDistilled(DLB(), network, Course(recipe, 12, CLASSES, ranks))
    for step in range(3):
        for lane in range(ranks.rank, lanes, ranks.world):
            batch = micro_batch(step, lane, lanes)
            given = found[step, lane] = objective.given(network, batch)
            assert set(objective.terms(network, batch, given)) == ({"ce", "previous"} if step else {"ce"})
        objective.end_step()
        network.updates += 1
    return found


def said(step: int, lane: int, lanes: int = 2) -> Tensor:
    """Of a micro-batch's own images, at its update."""
    network = Trained()
    network.updates = step
    logits: Tensor = network(micro_batch(step, lane, lanes).images)
    return logits.detach()


def test_at_first_there_is_cross_entropy_alone_then_the_teacher_is_what_the_update_before_said() -> None:
    found = taught(Ranks())
    for lane in range(2):
        assert found[0, lane] is None
        for step in (1, 2):
            torch.testing.assert_close(found[step, lane], said(step - 1, lane))


def test_two_ranks_are_taught_what_one_with_two_micro_batches_is() -> None:
    alone, (lower, upper) = taught(Ranks(), lanes=4), on_ranks(2, lambda ranks: taught(ranks, lanes=4))
    assert set(lower) == {(step, lane) for step in range(3) for lane in (0, 2)}
    for place, given in (lower | upper).items():
        assert given is alone[place] is None or torch.equal(given, alone[place])  # type: ignore[arg-type]


def test_what_was_given_stays_what_it_was_when_the_next_step_is_over() -> None:
    previous = DLB().beside(Trained(), COURSE)
    for seed in (1, 2):
        previous.note(0, logits(seed).float())
        previous.end_step(Ranks().gather)
        if seed == 1:
            given = previous.logits_at(COUNT)
    assert torch.equal(given, logits(1).float())


def test_what_nobody_said_is_no_prediction() -> None:
    assert DLB().beside(Trained(), COURSE).logits_at(0).isnan().all()
