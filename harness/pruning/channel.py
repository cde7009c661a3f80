"""Channels as Torch-Pruning's dependency graph couples them: their scores, and a record of their removal.

Lives here: scoring channels, what hangs on each, replaying a removal. Must not: deciding how many go
(`harness.pruning.channel_choice`), training, files. Only this file imports torch_pruning, whose own save format is a
pickled module: here a record of what was removed is replayed instead.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from harness.errors import UserError
from harness.pruning.reduction import Importance

Record = dict[str, Any]
"""What JSON can hold: {"groups": [{"layer": name, "channels": how many it had, "removed": [indices]}, ...]}."""

_IMPORTANCES = {
    "magnitude": tp.importance.GroupMagnitudeImportance,  # squared L2 norm (Fang et al., CVPR 2023)
    "bn_scale": tp.importance.BNScaleImportance,  # |BatchNorm's scale| (Liu et al., ICCV 2017)
    "fpgm": tp.importance.FPGMImportance,  # distances to all others (He et al., CVPR 2019), here of squared weights
    "taylor": tp.importance.GroupTaylorImportance,  # |weight x gradient| (Molchanov et al., CVPR 2019), no BatchNorms
    "lamp": tp.importance.LAMPImportance,  # magnitude over that of what outlasts it (Lee et al., ICLR 2021)
    "random": tp.importance.RandomImportance,  # from torch's generator
}


def score_channels(model: nn.Module, example: Tensor, importance: Importance) -> dict[str, Tensor]:
    """The score of each channel, float32 [channels] on the CPU, by the layer its group of coupled layers starts from.

    The lowest go first. A channel's score is the mean over the layers that lose something with it, and all but `lamp`
    and `random` are divided by their mean over the group, so groups can be compared. `taylor` reads the gradients that
    are there. `bn_scale` leaves out groups without a BatchNorm. `example`: (B, 3, S, S), of which only the shape
    matters. Raises UserError if no group is left.
    """
    score = _IMPORTANCES[importance]()
    found = {layer: score(group) for layer, group in _groups(_graph(model, example)).items()}
    # A group that is all zeros, or has no gradient at all, was divided by 0: nothing is lost with it.
    scores = {layer: it.detach().nan_to_num(nan=0.0).cpu() for layer, it in found.items() if it is not None}
    if not scores:
        where = "has no BatchNorm to read" if found else "has no channels that can go"
        raise UserError(f"importance {importance!r} finds nothing to remove: this network {where}")
    return scores


def sum_by_channel(model: nn.Module, example: Tensor, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sum over the weights that read each channel, float64 [channels] on the CPU, by the layer a group starts from.

    `scores` has one for each prunable weight, in its shape. A channel goes when nobody reads it any more; the weights
    that make it do not tell what it is worth, for a BatchNorm behind them undoes their size. Raises UserError if the
    network has no channels that can go.
    """
    graph = _graph(model, example)
    names = {module: name for name, module in model.named_modules()}
    sums = {}
    for layer, group in _groups(graph).items():
        sums[layer] = torch.zeros(len(group[0].idxs), dtype=torch.float64)
        for item in group:
            weights = scores.get(f"{names.get(item.dep.target.module)}.weight")
            if weights is not None and graph.is_in_channel_pruning_fn(item.dep.handler):
                depthwise = getattr(item.dep.target.module, "groups", 1) > 1  # its weights have no axis of inputs
                by_input = weights if depthwise else weights.transpose(0, 1)
                read = by_input.detach().double().cpu().flatten(1).sum(dim=1)
                sums[layer].index_add_(0, torch.tensor(item.root_idxs), read[item.idxs])
    if not sums:
        raise UserError("this network has no channels that can go")
    return sums


def replay(model: nn.Module, record: Record, example: Tensor) -> None:
    """Remove from a freshly built network, in place, what `record` lists: the same architecture again.

    Raises UserError, before anything is removed, if the record is damaged or belongs to another network.
    """
    graph = _graph(model, example)
    groups = _groups(graph)
    for layer, removed in _checked(record, {name: len(group[0].idxs) for name, group in groups.items()}):
        _remove(graph, groups[layer], removed)


def lost_shapes(model: nn.Module, example: Tensor) -> dict[str, dict[str, tuple[int, ...]]]:
    """By how much a channel of each group shortens the axes of which parameters: {layer: {parameter: (by axis)}}.

    Found by removing one, on a copy without data; `model` is untouched.
    """
    empty = copy.deepcopy(model).to("meta")
    graph = _graph(empty, example)
    found = {}
    for layer, group in _groups(graph).items():
        before = {name: parameter.shape for name, parameter in empty.named_parameters()}
        _remove(graph, group, [0])
        found[layer] = {
            name: tuple(had - has for had, has in zip(before[name], parameter.shape, strict=True))
            for name, parameter in empty.named_parameters()
            if parameter.shape != before[name]
        }
    return found


def _remove(graph: Any, whole: Any, removed: list[int]) -> None:
    """Take these channels out of every layer of a group."""
    root = whole[0].dep
    group = graph.get_pruning_group(root.target.module, root.handler, removed)
    with _layer_norms_in_order(group):
        group.prune(record_history=False)


@contextmanager
def _layer_norms_in_order(group: Any) -> Iterator[None]:
    """Keep each LayerNorm's parameters in order: Torch-Pruning puts those that stay in the order of a Python set."""
    ordered = []
    for item in group:
        if isinstance(norm := item.dep.target.module, nn.LayerNorm):
            kept = sorted(set(range(norm.normalized_shape[-1])) - set(item.idxs))
            ordered.append((norm, [parameter.detach()[..., kept] for parameter in norm.parameters()]))
    yield
    for norm, tensors in ordered:
        for parameter, tensor in zip(norm.parameters(), tensors, strict=True):
            parameter.data = tensor


def _graph(model: nn.Module, example: Tensor) -> Any:
    """The dependency graph; tracing switches the network to evaluation, so each module's mode is put back."""
    modes = [(module, module.training) for module in model.modules()]
    example = example.to(next(model.parameters()).device)
    with torch.enable_grad():
        # Without a forward function the tracer first passes the images as separate arguments and hides what they raise.
        graph = tp.DependencyGraph().build_dependency(model, example, forward_fn=nn.Module.__call__, verbose=False)
    for module, training in modes:
        module.training = training
    return graph


def _groups(graph: Any) -> dict[str, Any]:
    """The groups of coupled layers that may become narrower, by the name of the layer each starts from.

    Left out are groups in which
    * nothing follows a layer: its channels are the network's outputs;
    * channels hang together in blocks of a fixed size or number: grouped (not depthwise) convolutions, GroupNorm,
      torch's own multi-head attention;
    * a reshape cuts the channels up, as into the heads of an attention.
    """
    names = {module: name for name, module in graph.model.named_modules()}
    groups = {}
    for group in graph.get_all_groups(ignored_layers=[], root_module_types=[nn.Conv2d, nn.Linear]):
        nodes = [item.dep.target for item in group]
        narrowed = [item.dep.target for item in group if graph.is_out_channel_pruning_fn(item.dep.handler)]
        if all(node.outputs for node in narrowed) and not any(_in_blocks(node.module) or _cut(node) for node in nodes):
            groups[names[group[0].dep.target.module]] = group
    return groups


def _in_blocks(layer: Any) -> bool:
    """Whether channels can leave this layer only so many at a time."""
    if isinstance(layer, nn.Conv2d):
        return layer.groups > 1 and not layer.groups == layer.in_channels == layer.out_channels
    return isinstance(layer, nn.GroupNorm | nn.MultiheadAttention)


def _cut(node: Any) -> bool:
    """Whether a node of the graph is a reshape that does not leave the channels one axis, or the slowest of one.

    They are the last axis of tokens (..., channels) and the second of images (B, channels, H, W).
    """
    if node.type != tp.ops.OPTYPE.RESHAPE:
        return False
    before, after = node.grad_fn._saved_self_sym_sizes, node.grad_fn._input_metadata[0].shape
    tokens = before[-1] == after[-1]
    images = len(before) == 4 and (len(after) == 2 or before[1] == after[1])
    return not (tokens or images)


def _checked(record: Record, channels: dict[str, int]) -> list[tuple[str, list[int]]]:
    """(layer, removed channels) of every entry, if all of them fit the network."""
    try:
        entries = [(entry["layer"], entry["channels"], entry["removed"]) for entry in record["groups"]]
        damaged = [layer for layer, had, removed in entries if not _fits(removed, had, channels.get(layer))]
    except (KeyError, TypeError) as error:
        raise UserError(f"the channel record is damaged ({error!r}): prune again") from error
    if damaged:
        raise UserError(f"the channel record does not fit this network at layer {damaged[0]!r}: prune again")
    if len({layer for layer, _, _ in entries}) < len(entries):
        raise UserError("the channel record is damaged (a layer twice): prune again")
    return [(layer, removed) for layer, _, removed in entries if removed]


def _fits(removed: Any, had: Any, has: int | None) -> bool:
    return (
        had == has
        and isinstance(removed, list)
        and all(type(index) is int and 0 <= index < had for index in removed)
        and len(set(removed)) == len(removed) < had
    )
