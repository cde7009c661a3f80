"""A user prunes before training by what a few steps of it show, with labels or with self-distillation."""

import copy
import dataclasses
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from harness.batch import Batch, Mates
from harness.contracts import Forward
from harness.course import Course
from harness.criteria.prospr import ProsPr
from harness.criteria.snip import Snip
from harness.data.augment import Augment
from harness.errors import StageError, UserError
from harness.objective import CrossEntropy, SelfDistilled
from harness.pruning.mask import prunable
from harness.recipe import Recipe
from harness.self_distillation.cs_kd import CSKD
from tests.criteria import by_hand

Loss = Callable[[Forward, Batch], Tensor]


class FromTheLastStep:
    """Learns for the mates what the network said about the same images before the last update."""

    mates: Mates = "previous"
    learned = None
    said: Tensor | None = None
    remembered: Tensor | None = None

    def given(self, network: Forward, batch: Batch) -> Tensor | None:
        return self.remembered

    def terms(self, network: Forward, batch: Batch, given: Tensor | None) -> dict[str, Tensor]:
        n = len(batch.labels)
        logits = network(batch.images if batch.mates is None else torch.cat([batch.images, batch.mates.images]))
        self.said = logits[:n].detach()
        terms = {"ce": F.cross_entropy(logits[:n], batch.labels)}
        return terms if given is None else terms | {"last": F.mse_loss(logits[n:], given)}

    def end_step(self) -> None:
        self.remembered = self.said


def cross_entropy(network: Forward, batch: Batch) -> Tensor:
    return F.cross_entropy(network(batch.images), batch.labels)


def cs_kd(network: Forward, batch: Batch) -> Tensor:
    assert batch.mates is not None
    at_mates = network(batch.mates.images).detach()
    logits = network(batch.images)
    divergence = F.kl_div((logits / 4).log_softmax(1), (at_mates / 4).softmax(1), reduction="batchmean")
    return F.cross_entropy(logits, batch.labels) + 16 * divergence


def unrolled(
    network: nn.Module, losses: Sequence[Loss], batches: Sequence[Batch], lr: float = 0.1
) -> dict[str, Tensor]:
    """dL/dm, all steps in one graph: a step on each of `losses` but the last, which is L."""
    masks = {name: torch.ones_like(weight).requires_grad_() for name, weight in prunable(network).items()}
    weights = {name: p.detach() * masks.get(name, 1) for name, p in network.named_parameters()}
    weights = {name: w if w.requires_grad else w.requires_grad_() for name, w in weights.items()}

    def at(weights: dict[str, Tensor]) -> Forward:
        return lambda images: functional_call(network, weights, (images,))

    for loss, batch in zip(losses[:-1], batches[:-1], strict=True):
        slopes = torch.autograd.grad(loss(at(weights), batch), list(weights.values()), create_graph=True)
        weights = {name: w - lr * slope for (name, w), slope in zip(weights.items(), slopes, strict=True)}
    last = losses[-1](at(weights), batches[-1])
    return dict(zip(masks, torch.autograd.grad(last, list(masks.values())), strict=True))


def assert_shares(scores: dict[str, Tensor], sensitivities: dict[str, Tensor]) -> None:
    """The scores are the absolute sensitivities, divided by their sum."""
    total = sum(float(value.abs().sum()) for value in sensitivities.values())
    for name, value in sensitivities.items():
        torch.testing.assert_close(scores[name].double(), value.abs() / total, rtol=1e-6, atol=1e-12)


@pytest.fixture
def with_classmates(batches: list[Batch]) -> list[Batch]:
    """Each batch with the other one for second images."""
    return [dataclasses.replace(batch, mates=mates) for batch, mates in zip(batches, batches[::-1], strict=True)]


def distilled(network: nn.Module) -> SelfDistilled:
    course = Course(recipe=Recipe(epochs=1, augment=Augment(crop="none", size=2)), images=10, classes=3)
    return SelfDistilled(CSKD(), network, course)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_score_looks_through_all_steps(smooth: nn.Sequential, batches: list[Batch], steps: int) -> None:
    expected = unrolled(smooth, [cross_entropy] * (steps + 1), batches[:1] * (steps + 1), lr=0.3)
    assert_shares(ProsPr(inner_steps=steps, inner_lr=0.3).score(smooth, batches, CrossEntropy()), expected)


def test_it_is_the_change_of_the_loss_after_the_steps_as_a_connection_fades(
    smooth: nn.Sequential, batches: list[Batch]
) -> None:
    scores = ProsPr().score(smooth, batches, CrossEntropy())

    def trained() -> Tensor:
        network = copy.deepcopy(smooth)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        with torch.enable_grad():
            for _ in range(3):
                optimizer.zero_grad()
                cross_entropy(network, batches[0]).backward()
                optimizer.step()
        return cross_entropy(network, batches[0])

    changes = list(by_hand.sensitivities(smooth, trained))
    ratios = [by_hand.at(scores, name, position) / abs(change) for name, position, change in changes]
    assert ratios == pytest.approx([ratios[0]] * 6, rel=1e-6)  # they share the factor that makes the sum 1


def test_batch_normalisation_is_looked_through_as_in_training(convnet: nn.Sequential, batches: list[Batch]) -> None:
    scores = ProsPr().score(convnet.eval(), batches, CrossEntropy())
    assert_shares(scores, unrolled(copy.deepcopy(convnet).train(), [cross_entropy] * 4, batches[:1] * 4))


def test_to_first_order_the_steps_only_move_the_weights(smooth: nn.Sequential, batches: list[Batch]) -> None:
    criterion = ProsPr(gradient="first_order")
    moved = copy.deepcopy(smooth)
    moved.load_state_dict(criterion.after_inner_steps(smooth, batches, CrossEntropy()))
    slopes = torch.autograd.grad(cross_entropy(moved, batches[0]), list(prunable(moved).values()))
    expected = {
        name: weight.detach() * slope for (name, weight), slope in zip(prunable(smooth).items(), slopes, strict=True)
    }
    assert_shares(criterion.score(smooth, batches, CrossEntropy()), expected)


def test_training_can_start_after_the_steps(convnet: nn.Sequential, batches: list[Batch]) -> None:
    trained = copy.deepcopy(convnet).train()
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    for batch in batches:
        optimizer.zero_grad()
        cross_entropy(trained, batch).backward()
        optimizer.step()
    before = copy.deepcopy(convnet.state_dict())
    criterion = ProsPr(inner_steps=2, inner_batch="new")
    found = criterion.after_inner_steps(convnet.eval(), [*batches, batches[0]], CrossEntropy())
    assert list(found) == [name for name, _ in convnet.named_parameters()]
    for name, parameter in trained.named_parameters():
        torch.testing.assert_close(found[name], parameter.detach(), rtol=1e-12, atol=1e-15)
    assert all(torch.equal(tensor, before[name]) for name, tensor in convnet.state_dict().items())
    assert not convnet.training


def test_without_a_step_it_is_snip(convnet: nn.Sequential, batches: list[Batch]) -> None:
    snip = Snip().score(convnet, batches, CrossEntropy())
    for criterion in (ProsPr(inner_steps=0), ProsPr(inner_steps=0, inner_batch="new", gradient="first_order")):
        found = criterion.score(convnet, batches, CrossEntropy())
        assert all(torch.equal(found[name], snip[name]) for name in snip)


def test_without_a_step_it_is_snip_with_self_distillation_too(
    convnet: nn.Sequential, with_classmates: list[Batch]
) -> None:
    found, snip = (
        criterion.score(convnet, with_classmates, distilled(convnet)) for criterion in (ProsPr(inner_steps=0), Snip())
    )
    plain = Snip().score(convnet, with_classmates, CrossEntropy())
    assert all(torch.equal(found[name], snip[name]) and not torch.equal(snip[name], plain[name]) for name in snip)


def test_what_the_network_says_to_itself_is_constant_in_every_step(
    smooth: nn.Sequential, with_classmates: list[Batch]
) -> None:
    scores = ProsPr().score(smooth, with_classmates, distilled(smooth))
    assert_shares(scores, unrolled(smooth, [cs_kd] * 4, with_classmates[:1] * 4))


def test_new_batches_are_one_for_each_step_and_one_for_the_loss(smooth: nn.Sequential, batches: list[Batch]) -> None:
    stream = iter([batches[0], batches[1], batches[1], batches[0], batches[1]])
    scores = ProsPr(inner_batch="new").score(smooth, stream, CrossEntropy())
    assert_shares(scores, unrolled(smooth, [cross_entropy] * 4, [batches[n] for n in (0, 1, 1, 0)]))
    assert len(list(stream)) == 1


def test_the_same_batch_is_one(smooth: nn.Sequential, with_classmates: list[Batch]) -> None:
    for objective in (CrossEntropy(), distilled(smooth)):
        stream = iter(with_classmates)
        ProsPr().score(smooth, stream, objective)
        assert len(list(stream)) == 1


def test_what_was_said_before_the_last_step_is_learned_for_another_view_of_the_same_batch(
    smooth: nn.Sequential, batches: list[Batch]
) -> None:
    first = batches[0]
    view = dataclasses.replace(first, images=first.images.flip(3))
    stream = iter([first, dataclasses.replace(batches[1], mates=view), batches[1]])
    scores = ProsPr(inner_steps=2).score(smooth, stream, FromTheLastStep())
    assert len(list(stream)) == 1
    said: list[Tensor] = []

    def at_first(network: Forward, batch: Batch) -> Tensor:
        said.append(network(batch.images).detach())
        return cross_entropy(network, batch)

    def then(network: Forward, batch: Batch) -> Tensor:
        last = said[-1]
        return at_first(network, batch) + F.mse_loss(network(view.images), last)

    assert_shares(scores, unrolled(smooth, [at_first, then, then], [first] * 3))


def test_what_is_dropped_in_a_step_is_dropped_again_on_the_way_back(
    dropping: nn.Sequential, batches: list[Batch]
) -> None:
    torch.manual_seed(5)
    expected = unrolled(dropping, [cross_entropy] * 4, batches[:1] * 4)
    after = torch.rand(3)
    for _ in range(2):
        torch.manual_seed(5)
        assert_shares(ProsPr().score(dropping, batches, CrossEntropy()), expected)
        assert torch.equal(torch.rand(3), after), "the way back draws nothing new"


def test_too_few_new_batches_are_refused(smooth: nn.Sequential, batches: list[Batch]) -> None:
    with pytest.raises(StageError, match="only 2 training batches"):
        ProsPr(inner_batch="new").score(smooth, batches, CrossEntropy())


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"inner_steps": -1}, "inner_steps of ProsPr is -1"),
        ({"inner_lr": 0.0}, "inner_lr of ProsPr is 0.0"),
        ({"inner_batch": "news"}, "unknown inner_batch 'news' in ProsPr: did you mean 'new'?"),
        ({"gradient": "second_order"}, "unknown gradient 'second_order'"),
    ],
)
def test_what_makes_no_steps_is_no_spec(fields: dict, complaint: str) -> None:
    with pytest.raises(UserError) as error:
        ProsPr(**fields)
    assert complaint in str(error.value)
