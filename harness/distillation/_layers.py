"""The layers that a feature method compares, pair by pair.

Lives here: checks of what was asked for, and maps brought to one size. Must not: losses.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from harness.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.taps import Outputs

Shapes = Mapping[str, tuple[int, ...]]


def require_pairs(student_layers: tuple[str, ...], teacher_layers: tuple[str, ...]) -> None:
    """Raise UserError unless both name as many layers, at least one, each once."""
    for layers in (student_layers, teacher_layers):
        if not layers or len(set(layers)) < len(layers) or len(layers) != len(student_layers):
            raise UserError(
                f"student_layers {student_layers} and teacher_layers {teacher_layers} make no pairs:"
                " name as many of both, each once"
            )


def require_one(layers: tuple[str, ...]) -> None:
    """Raise UserError unless there is exactly one layer."""
    if len(layers) != 1:
        raise UserError(f"one layer of each network is compared, not {len(layers)}: {layers}")


def require_maps(*networks: Shapes) -> None:
    """Raise UserError for a feature that is no map (channels, height, width)."""
    for path, shape in ((path, shape) for shapes in networks for path, shape in shapes.items()):
        if len(shape) != 3:
            raise UserError(f"layer {path!r} puts out {shape} for an image, no map (channels, height, width)")


def pairs(student: "Outputs", teacher: "Outputs") -> "Iterator[tuple[Tensor, Tensor]]":
    """Features of student and teacher, in the order their layers were named."""
    return zip(student.features.values(), teacher.features.values(), strict=True)


def at_one_size(one: "Tensor", other: "Tensor") -> "tuple[Tensor, Tensor]":
    """Two batches of maps [n, channels, height, width], the larger ones averaged down to the smaller ones' size."""
    from torch.nn.functional import adaptive_avg_pool2d

    height, width = (min(sides) for sides in zip(one.shape[2:], other.shape[2:], strict=True))
    one, other = (
        maps if maps.shape[2:] == (height, width) else adaptive_avg_pool2d(maps, (height, width))
        for maps in (one, other)
    )
    return one, other
