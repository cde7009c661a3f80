"""A user forms a dense student of the size of a sparse teacher."""

from collections import Counter
from typing import Any

import pytest
import torch

from harness.cost import nonzeros, parameters
from harness.criteria.magnitude import Magnitude
from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.models.vgg import VGG, vgg, vgg16_tiny
from harness.objective import CrossEntropy
from harness.pruning.formation import form_student
from harness.pruning.mask import apply, kept, prunable
from harness.pruning.threshold import global_masks

VGG19 = vgg(depth=19, classes=100)
VGG19_ST79 = ((40, 49), (111, 97), (225, 187, 224, 170), (356, 233, 220, 99), (111, 84, 297, 122))
"""Published by No & Park for a VGG19 at 79 %, with 4,153,613 weights."""
RESNETS: list[Any] = [
    (18, (64, 128, 256, 512), (58, 113, 216, 398)),
    (18, (64, 128, 256, 512), (49, 85, 140, 198)),
    (18, (128, 256, 512, 1024), (86, 148, 262, 432)),
    (50, (64, 128, 256, 512), (48, 90, 164, 330)),
]
"""Depth, teacher's and published student's widths."""


def sizes(spec: VGG | ResNet) -> dict[str, int]:
    with torch.device("meta"):
        return {name: weight.numel() for name, weight in prunable(spec.build()).items()}


def pruned(spec: VGG | ResNet, first: float, last: float) -> dict[str, int]:
    """Nonzeros of a teacher whose density falls from `first` to `last` with depth, a little unevenly."""
    counts = sizes(spec)
    step = (last / first) ** (1 / (len(counts) - 1))
    wobble = [1.0, 0.93, 0.97]
    return {
        name: round(size * first * step**depth * wobble[depth % 3]) for depth, (name, size) in enumerate(counts.items())
    }


@pytest.mark.parametrize(("first", "last"), [(0.95, 0.5), (0.9, 0.1), (0.6, 0.05)])
@pytest.mark.parametrize(
    ("spec", "tolerance"),
    [
        (VGG19, 0.01),
        (vgg(depth=16, classes=100), 0.01),
        (ResNet(depth=18, classes=200, stem="cifar"), 0.05),
        (ResNet(depth=50, classes=200, stem="cifar"), 0.05),
    ],
    ids=["vgg19", "vgg16", "resnet18", "resnet50"],
)
def test_the_student_has_as_many_weights_as_the_teacher_kept(
    spec: VGG | ResNet, tolerance: float, first: float, last: float
) -> None:
    counts = pruned(spec, first, last)
    student = form_student(spec, counts)
    assert sum(sizes(student).values()) == pytest.approx(sum(counts.values()), rel=tolerance)
    assert type(student) is type(spec) and student.classes == spec.classes
    assert student.build()(torch.randn(2, 3, 32, 32)).shape == (2, spec.classes)


@pytest.mark.parametrize("sparsity", [0.36, 0.5904, 0.7902848])
@pytest.mark.parametrize(
    ("spec", "tolerance"),
    [
        (VGG19, 0.01),
        (vgg16_tiny(classes=200), 0.01),
        (ResNet(depth=18, classes=200, stem="cifar"), 0.05),
        (ResNet(depth=50, classes=200, stem="cifar"), 0.05),
    ],
    ids=["vgg19", "vgg16 of Tiny-ImageNet", "resnet18", "resnet50"],
)
def test_a_teacher_that_was_really_pruned_has_a_student_of_its_size(
    spec: VGG | ResNet, tolerance: float, sparsity: float
) -> None:
    """All parameters are counted, as a row counts them: biases and BatchNorm too."""
    torch.manual_seed(0)
    teacher = spec.build()
    masks = global_masks(Magnitude().score(teacher, (), CrossEntropy()), sparsity)
    student = form_student(spec, kept(masks))
    with torch.device("meta"):
        size = parameters(student.build())
    apply(teacher, masks)
    assert size == pytest.approx(nonzeros(teacher), rel=tolerance)


@pytest.mark.parametrize(
    "spec",
    [
        VGG19,
        ResNet(depth=18, classes=10),
        ResNet(depth=50, classes=10),
        ResNet(depth=50, classes=10, widths=(16, 16, 24, 24), stem_width=16),
    ],
    ids=["vgg19", "resnet18", "resnet50", "resnet50 with equal stages"],
)
def test_a_dense_teacher_forms_itself(spec: VGG | ResNet) -> None:
    assert form_student(spec, sizes(spec)) == spec


def test_the_published_vgg_widths_are_a_fixed_point_of_the_rule() -> None:
    published = VGG(blocks=VGG19_ST79, classes=100)
    counts = sizes(published)
    assert sum(counts.values()) == 4_153_613
    assert form_student(VGG19, counts) == published
    shares = [counts[name] / size for name, size in sizes(VGG19).items()]
    assert max(shares) <= 1  # so a pruned VGG19 can have kept this


@pytest.mark.parametrize(("depth", "teacher", "published"), RESNETS)
def test_the_published_resnet_widths_solve_their_own_stages(depth: Any, teacher: Any, published: Any) -> None:
    spec = ResNet(depth=depth, classes=200, widths=teacher, stem="cifar")
    left = Counter[str]()
    for name, size in sizes(ResNet(depth=depth, classes=200, widths=published, stem="cifar")).items():
        left[name.split(".")[0]] += size
    nonzeros = {}
    for name, size in sizes(spec).items():  # which layers of the stage kept them does not matter
        nonzeros[name] = min(size, left[name.split(".")[0]])
        left[name.split(".")[0]] -= nonzeros[name]
    assert left.total() == 0
    student = form_student(spec, nonzeros)
    assert isinstance(student, ResNet)
    assert (student.widths, student.stem_width) == (published, 64)


def test_a_nearly_empty_layer_keeps_one_channel() -> None:
    spec = VGG(blocks=((8,), (8,)), classes=3)
    nonzeros = sizes(spec) | {"features.4.weight": 1}
    assert form_student(spec, nonzeros) == VGG(blocks=((8,), (1,)), classes=3)


def test_a_model_without_a_rule_is_refused() -> None:
    with pytest.raises(UserError, match="no rule forms a student from a str"):
        form_student("resnet18", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"features.0.weight": 10**9}, {"features.0.weight": -1}, {"features.99.weight": 1}])
def test_counts_of_another_teacher_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        form_student(VGG19, sizes(VGG19) | wrong)
    with pytest.raises(UserError, match="order"):
        form_student(VGG19, dict(reversed(sizes(VGG19).items())))
