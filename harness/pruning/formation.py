"""Student formation: a narrower dense network whose widths follow what a pruned teacher kept.

Lives here: the rules from nonzeros to widths. Must not: weights (a student starts afresh), distillation.
"""

import dataclasses

import torch

from harness.errors import UserError
from harness.models.resnet import ResNet
from harness.models.vgg import VGG
from harness.pruning.mask import prunable


def form_student(spec: VGG | ResNet, nonzeros: dict[str, int]) -> VGG | ResNet:
    """The student of a teacher of architecture `spec` that kept `nonzeros[name]` weights of each prunable layer.

    The student has about as many weights as the teacher has nonzeros. Raises UserError if there is no rule for the
    architecture, or if the counts are not those of such a teacher.
    """
    if not isinstance(spec, (VGG, ResNet)):
        raise UserError(f"no rule forms a student from a {type(spec).__name__}: use a VGG or a ResNet teacher")
    _check(spec, nonzeros)
    return _form_vgg(spec, nonzeros) if isinstance(spec, VGG) else _form_resnet(spec, nonzeros)


def _form_vgg(spec: VGG, nonzeros: dict[str, int]) -> VGG:
    """n_l = round(nz_l / (9 n_(l-1))) with n_0 = 3: the rule that fits the widths No & Park (ECCV 2022) publish.

    Hidden linear layers follow it without the 9; the paper forms no student with any. The last layer takes what comes.
    """
    counts = iter(nonzeros.values())
    blocks, channels = [], 3
    for block in spec.blocks:
        widths = []
        for _ in block:
            channels = max(1, round(next(counts) / (9 * channels)))
            widths.append(channels)
        blocks.append(tuple(widths))
    hidden, inputs = [], channels * spec.pooled**2
    for _ in spec.hidden:
        inputs = max(1, round(next(counts) / inputs))
        hidden.append(inputs)
    return dataclasses.replace(spec, blocks=tuple(blocks), hidden=tuple(hidden))


def _form_resnet(spec: ResNet, nonzeros: dict[str, int]) -> ResNet:
    """One width per stage: the one whose weight count comes nearest to what the teacher kept there; the stem stays.

    No & Park publish only the resulting widths, with this pattern; the solve is ours.
    """
    widths: list[int] = []
    channels = spec.stem_width
    for stage, teacher_width in enumerate(spec.widths):
        target = sum(count for name, count in nonzeros.items() if name.split(".")[0] == f"layer{stage + 1}")
        candidates = range(1, 2 * teacher_width + 1)  # above the teacher's: fewer channels may enter a dense stage
        widths.append(min(candidates, key=lambda width: abs(_stage_weights(spec, stage, channels, width) - target)))
        channels = widths[-1] * spec.expansion
    first, second, third, fourth = widths
    return dataclasses.replace(spec, widths=(first, second, third, fourth))


def _stage_weights(spec: ResNet, stage: int, inputs: int, width: int) -> int:
    """Convolution weights of a stage that `inputs` channels enter."""
    outputs = width * spec.expansion
    projection = inputs * outputs if stage > 0 or inputs != outputs else 0
    later = spec.blocks[stage] - 1
    return _block_weights(spec, inputs, width) + projection + later * _block_weights(spec, outputs, width)


def _block_weights(spec: ResNet, inputs: int, width: int) -> int:
    if spec.expansion == 1:
        return 9 * inputs * width + 9 * width * width
    return inputs * width + 9 * width * width + width * width * spec.expansion


def _check(spec: VGG | ResNet, nonzeros: dict[str, int]) -> None:
    with torch.device("meta"):
        sizes = {name: weight.numel() for name, weight in prunable(spec.build()).items()}
    if list(nonzeros) != list(sizes):
        odd = sorted(set(nonzeros) ^ set(sizes))
        raise UserError(f"the nonzero counts are not this teacher's: {odd[:3] or 'layers'} differ or are out of order")
    for name, size in sizes.items():
        if not 0 <= nonzeros[name] <= size:
            raise UserError(f"{name} cannot keep {nonzeros[name]} of {size} weights: recount the teacher's nonzeros")
