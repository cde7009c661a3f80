"""Exits against the paper's equation, written out in float64 from the exits' maps and logits."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.course import Course
from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.objective import SelfDistilled
from harness.self_distillation._exits import Exits
from harness.self_distillation.be_your_own_teacher import BeYourOwnTeacher
from harness.taps import Taps
from tests.self_distillation.checks import RECIPE, cross_entropy, divergence

SIDE, CLASSES = 16, 5
LABELS = torch.tensor([0, 1, 2, 4])
BATCH = Batch(
    torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
    LABELS,
    torch.arange(4),
)
METHOD = BeYourOwnTeacher(temperature=2, weight=0.4, hint_weight=0.01)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return ResNet(depth=18, classes=CLASSES, widths=(8, 8, 12, 16), stem="cifar", stem_width=8).build()


@pytest.fixture
def objective(network: nn.Module) -> SelfDistilled:
    made = SelfDistilled(METHOD, network, Course(RECIPE, 20, CLASSES))
    network.double()
    assert isinstance(made.learned, Exits)
    made.learned.double()
    return made


def exits_of(objective: SelfDistilled) -> Exits:
    assert isinstance(objective.learned, Exits)
    return objective.learned


def test_all_terms_equal_the_formula(network: nn.Module, objective: SelfDistilled) -> None:
    found = objective.terms(network, BATCH, objective.given(network, BATCH))
    exits = exits_of(objective)
    logits = network(BATCH.images).detach()
    *shallow, deepest = exits.taps.take().values()
    labels = [[float(k == label) for k in range(CLASSES)] for label in LABELS.tolist()]
    ce, kd, hint = cross_entropy(logits, labels), 0.0, 0.0
    for feature, said in exits(shallow):
        ce += (1 - 0.4) * cross_entropy(said, labels)
        kd += 0.4 * divergence(logits, said, temperature=2)
        pairs = zip(feature.flatten().tolist(), deepest.flatten().tolist(), strict=True)
        hint += 0.01 * sum((a - b) ** 2 for a, b in pairs) / len(LABELS)
    assert list(found) == ["ce", "kd", "hint"]
    for name, expected in (("ce", ce), ("kd", kd), ("hint", hint)):
        assert found[name].item() == pytest.approx(expected, rel=1e-9), name


def test_the_end_teaches_and_does_not_learn_from_its_exits(network: nn.Module, objective: SelfDistilled) -> None:
    found = objective.terms(network, BATCH, None)
    (found["kd"] + found["hint"]).backward()
    parts = dict(network.named_children())
    for part in ("layer4", "fc"):
        assert all(parameter.grad is None for parameter in parts[part].parameters()), part
    for part in ("layer1", "layer2", "layer3"):
        assert all(parameter.grad is not None for parameter in parts[part].parameters()), part


def test_a_label_alone_still_reaches_all_that_is_learned_beside(network: nn.Module) -> None:
    """Ranks that exchange gradients wait for every one of them."""
    objective = SelfDistilled(BeYourOwnTeacher(weight=0, hint_weight=0), network, Course(RECIPE, 20, CLASSES))
    batch = Batch(BATCH.images.float(), LABELS, BATCH.indices)
    sum(objective.terms(network, batch, None).values(), torch.zeros(())).backward()
    assert all(parameter.grad is not None for parameter in exits_of(objective).parameters())


@pytest.mark.parametrize(
    ("shape", "deepest", "blocks"),
    [((8, 16, 16), (64, 2, 2), 3), ((8, 7, 5), (16, 2, 2), 2), ((32, 4, 4), (16, 1, 1), 2), ((8, 4, 4), (16, 4, 4), 1)],
)
def test_a_branch_ends_in_a_map_like_the_deepest(shape: tuple[int, ...], deepest: tuple[int, ...], blocks: int) -> None:
    exits = Exits(taps_of({"early": shape, "late": deepest}), SIDE, CLASSES)
    [(feature, said)] = exits([torch.zeros(2, *shape)])
    assert feature.shape == (2, *deepest) and said.shape == (2, CLASSES)
    assert sum(isinstance(module, nn.Conv2d) for module in exits.modules()) == blocks


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [((8, 6, 6), r"'early' puts out \(8, 6, 6\), which halved does not become \(16, 4, 4\)"), ((8,), "tap maps")],
)
def test_a_map_that_cannot_become_the_deepest_is_refused(shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Exits(taps_of({"early": shape, "late": (16, 4, 4)}), SIDE, CLASSES)


def taps_of(shapes: dict[str, tuple[int, ...]]) -> Taps:
    """Of a network whose layers put out maps of these shapes."""

    class Fixed(Taps):
        def __init__(self) -> None:
            """No network is needed."""

        def shapes(self, side: int) -> dict[str, tuple[int, ...]]:
            assert side == SIDE
            return shapes

    return Fixed()


@pytest.mark.parametrize("fields", [{"exits": ()}, {"exits": ("layer1", "layer1")}, {"exits": ("layer1", "layer4")}])
def test_exits_are_named_and_each_once(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="name at least one layer, and each once"):
        BeYourOwnTeacher(**fields)


def test_weight_and_temperature_are_the_authors() -> None:
    assert (BeYourOwnTeacher().temperature, BeYourOwnTeacher().weight) == (3, 0.3)


def test_half_precision_features_are_compared_in_the_networks(network: nn.Module) -> None:
    objective = SelfDistilled(METHOD, network, Course(RECIPE, 20, CLASSES))

    def forward(images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = network(images)
        return logits.float()

    found = objective.terms(forward, Batch(BATCH.images.float(), LABELS, BATCH.indices), None)
    assert {term.dtype for term in found.values()} == {torch.float32}
