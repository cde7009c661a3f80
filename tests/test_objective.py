"""What the training loop minimises, in float64."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.contracts import Objective
from harness.distillation.dkd import DKD
from harness.distillation.fitnet import FitNet
from harness.distillation.kd import KD
from harness.models.vgg import VGG
from harness.objective import CrossEntropy, Distilled, FeatureDistilled, LiveTeacher, total
from harness.taps import Outputs, Taps

NONE = torch.empty(0, dtype=torch.int64)


def terms_of(objective: Objective, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Of a network that says `logits` whatever it sees."""

    def network(images: Tensor) -> Tensor:
        return logits

    return objective.terms(network, batch, objective.given(network, batch))


@pytest.fixture
def teacher() -> nn.Module:
    torch.manual_seed(0)
    return VGG(blocks=((4,),), classes=3).build().double().train()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, torch.randn(5, 3, 8, 8, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])


def test_terms_are_summed_in_single_precision() -> None:
    terms = {"ce": torch.tensor(256.0, dtype=torch.bfloat16), "kd": torch.tensor(0.5, dtype=torch.bfloat16)}
    loss = total(terms)
    assert loss.dtype == torch.float32
    assert loss.item() == 256.5  # 256 in bfloat16


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_label_smoothing_mixes_the_label_with_the_uniform_distribution(
    batch: tuple[Tensor, Tensor, Tensor], smoothing: float
) -> None:
    logits, images, labels = batch
    target = (1 - smoothing) * torch.eye(3, dtype=torch.float64)[labels] + smoothing / 3
    expected = -(target * (logits - logits.logsumexp(1, keepdim=True))).sum(1).mean()
    terms = terms_of(CrossEntropy(smoothing), logits, Batch(images, labels, NONE))
    assert list(terms) == ["ce"]
    torch.testing.assert_close(terms["ce"], expected, rtol=1e-12, atol=0)


def test_the_terms_are_the_methods_with_the_teachers_logits(
    batch: tuple[Tensor, Tensor, Tensor], teacher: nn.Module
) -> None:
    logits, images, labels = batch
    reference = copy.deepcopy(teacher).eval()
    terms = terms_of(Distilled(KD(), LiveTeacher(teacher)), logits, Batch(images, labels, NONE))
    expected = KD().terms(logits, reference(images), Batch(images, labels, NONE))
    assert list(terms) == ["ce", "kd"]
    assert all(torch.equal(terms[name], expected[name]) for name in terms)


def test_a_method_that_compares_logits_sees_the_epoch(batch: tuple[Tensor, Tensor, Tensor], teacher: nn.Module) -> None:
    logits, images, labels = batch
    objective = Distilled(DKD(warmup_epochs=4), LiveTeacher(teacher))
    first, last = (terms_of(objective, logits, Batch(images, labels, NONE, epoch=epoch))["target"] for epoch in (0, 3))
    torch.testing.assert_close(last, 4 * first)


def test_the_teacher_is_frozen_and_evaluated(batch: tuple[Tensor, Tensor, Tensor], teacher: nn.Module) -> None:
    logits, images, labels = batch
    before = copy.deepcopy(teacher.state_dict())
    objective = Distilled(KD(), LiveTeacher(teacher))
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    total(terms_of(objective, logits, Batch(images, labels, NONE))).backward()
    assert logits.grad is not None
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_a_half_precision_teacher_speaks_in_the_students_precision(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, images, labels = batch
    teacher = VGG(blocks=((4,),), classes=3).build().to(torch.bfloat16)
    half = Batch(images.bfloat16(), labels, NONE)
    terms = terms_of(Distilled(KD(), LiveTeacher(teacher)), logits.float(), half)
    expected = KD().terms(logits.float(), teacher(half.images).float(), half)  # softened in full precision
    assert torch.equal(terms["kd"], expected["kd"])


HINT = FitNet(student_layers=("features.2",), teacher_layers=("features.2",))


def from_features(student: nn.Module, teacher: LiveTeacher, adapters: nn.Module) -> FeatureDistilled:
    student_taps, teacher_taps = Taps(student, HINT.student_layers), Taps(teacher.network, HINT.teacher_layers)
    return FeatureDistilled(HINT, teacher, student_taps, teacher_taps, adapters, lambda values: values[None])


def test_features_of_both_networks_reach_the_method_and_its_adapters(
    batch: tuple[Tensor, Tensor, Tensor], teacher: nn.Module
) -> None:
    _, images, labels = batch
    student, reference = copy.deepcopy(teacher), copy.deepcopy(teacher).eval()
    adapters = HINT.adapters({"features.2": (4, 8, 8)}, {"features.2": (4, 8, 8)}, 5).double()
    objective = from_features(student, LiveTeacher(teacher), adapters)
    assert objective.learned is adapters
    logits = student(images)
    terms = terms_of(objective, logits, Batch(images, labels, NONE))
    mine, theirs = (part(images) for part in (copy.deepcopy(student).features, reference.features))  # type: ignore[operator]
    expected = HINT.terms(
        Outputs(logits, {"features.2": mine}),
        Outputs(logits, {"features.2": theirs}),
        Batch(images, labels, NONE),
        adapters,
    )
    assert list(terms) == ["ce", "hint"]
    for name in terms:
        torch.testing.assert_close(terms[name], expected[name])
    terms["hint"].backward()
    assert all(parameter.grad is not None for parameter in adapters.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_features_of_half_precision_are_compared_in_the_students(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    student = VGG(blocks=((4,),), classes=3).build()
    teacher = LiveTeacher(VGG(blocks=((4,),), classes=3).build(), bf16=True)
    images = batch[1].float()
    objective = from_features(student, teacher, nn.ModuleList([nn.Identity()]))
    with torch.autocast("cpu", torch.bfloat16):
        logits = student(images)
    assert logits.dtype == torch.bfloat16
    terms = terms_of(objective, logits.float(), Batch(images, batch[2], NONE))
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_adapters_that_remember_are_told_of_the_end_of_a_step(teacher: nn.Module) -> None:
    class Remembers(nn.Module):
        def end_step(self, gather: Callable[[Tensor], Tensor]) -> None:
            self.gathered = gather(torch.zeros(3))

    memory = Remembers()
    from_features(teacher, LiveTeacher(copy.deepcopy(teacher)), memory).end_step()
    assert memory.gathered.shape == (1, 3)
    from_features(teacher, LiveTeacher(copy.deepcopy(teacher)), nn.Module()).end_step()  # nothing is remembered
