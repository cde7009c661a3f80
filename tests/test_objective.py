"""What the training loop minimises, in float64."""

import copy

import pytest
import torch
from torch import Tensor, nn

from harness.batch import Batch
from harness.distillation.kd import KD
from harness.models.vgg import VGG
from harness.objective import CrossEntropy, Distilled, LiveTeacher

NONE = torch.empty(0, dtype=torch.int64)


@pytest.fixture
def teacher() -> nn.Module:
    torch.manual_seed(0)
    return VGG(blocks=((4,),), classes=3).build().double().train()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, torch.randn(5, 3, 8, 8, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_label_smoothing_mixes_the_label_with_the_uniform_distribution(
    batch: tuple[Tensor, Tensor, Tensor], smoothing: float
) -> None:
    logits, images, labels = batch
    target = (1 - smoothing) * torch.eye(3, dtype=torch.float64)[labels] + smoothing / 3
    expected = -(target * (logits - logits.logsumexp(1, keepdim=True))).sum(1).mean()
    terms = CrossEntropy(smoothing)(logits, Batch(images, labels, NONE))
    assert list(terms) == ["ce"]
    torch.testing.assert_close(terms["ce"], expected, rtol=1e-12, atol=0)


def test_the_terms_are_the_methods_with_the_teachers_logits(
    batch: tuple[Tensor, Tensor, Tensor], teacher: nn.Module
) -> None:
    logits, images, labels = batch
    reference = copy.deepcopy(teacher).eval()
    terms = Distilled(KD(), LiveTeacher(teacher))(logits, Batch(images, labels, NONE))
    expected = KD().terms(logits, reference(images), labels)
    assert list(terms) == ["ce", "kd"]
    assert all(torch.equal(terms[name], expected[name]) for name in terms)


def test_the_teacher_is_frozen_and_evaluated(batch: tuple[Tensor, Tensor, Tensor], teacher: nn.Module) -> None:
    logits, images, labels = batch
    before = copy.deepcopy(teacher.state_dict())
    objective = Distilled(KD(), LiveTeacher(teacher))
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    sum(objective(logits, Batch(images, labels, NONE)).values()).backward()  # type: ignore[union-attr]
    assert logits.grad is not None
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_a_half_precision_teacher_speaks_in_the_students_precision(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, images, labels = batch
    teacher = VGG(blocks=((4,),), classes=3).build().to(torch.bfloat16)
    terms = Distilled(KD(), LiveTeacher(teacher))(logits.float(), Batch(images.bfloat16(), labels, NONE))
    expected = KD().terms(logits.float(), teacher(images.bfloat16()).float(), labels)  # softened in full precision
    assert torch.equal(terms["kd"], expected["kd"])
