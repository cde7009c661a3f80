"""Channel pruning: networks that become narrower, through Torch-Pruning's dependency graph.

Lives here: choosing channels, removing them, replaying the removal. Must not: training, files. Only this file imports
torch_pruning, whose own save format is a pickled module: here a record of what was removed is replayed instead.
"""

from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from harness.errors import UserError

Record = dict[str, Any]
"""What JSON can hold: {"groups": [{"layer": name, "channels": how many it had, "removed": [indices]}, ...]}."""


def prune_channels(model: nn.Module, example: Tensor, channel_sparsity: float) -> Record:
    """Remove round(share * channels) of every group of coupled layers, in place; returns the record for `replay`.

    Lowest group L2 norm first, judged on the intact network (Fang et al., CVPR 2023); at least one channel stays, and
    the network's outputs are never touched. `example`: (B, 3, S, S). Raises UserError if the share is outside (0, 1).
    """
    if not 0 < channel_sparsity < 1:
        raise UserError(f"channel sparsity {channel_sparsity} is not between 0 and 1: it is the share to remove")
    importance = tp.importance.GroupMagnitudeImportance(p=2, target_types=[nn.Conv2d, nn.Linear, nn.BatchNorm2d])
    entries = []
    for layer, group in _groups(_graph(model, example)).items():
        scores: Tensor = importance(group)
        count = min(round(channel_sparsity * len(scores)), len(scores) - 1)
        removed = scores.argsort(stable=True)[:count].sort().values.tolist()
        entries.append({"layer": layer, "channels": len(scores), "removed": removed})
    record = {"groups": entries}
    replay(model, record, example)
    return record


def replay(model: nn.Module, record: Record, example: Tensor) -> None:
    """Remove from a freshly built network, in place, what `record` lists: the same architecture again.

    Raises UserError, before anything is removed, if the record is damaged or belongs to another network.
    """
    graph = _graph(model, example)
    groups = _groups(graph)
    for layer, removed in _checked(record, {name: len(group[0].idxs) for name, group in groups.items()}):
        root = groups[layer][0].dep
        graph.get_pruning_group(root.target.module, root.handler, removed).prune(record_history=False)


def _graph(model: nn.Module, example: Tensor) -> Any:
    """The dependency graph; tracing switches the network to evaluation, so each module's mode is put back."""
    modes = [(module, module.training) for module in model.modules()]
    with torch.enable_grad():
        # Without a forward function the tracer first passes the images as separate arguments and hides what they raise.
        graph = tp.DependencyGraph().build_dependency(model, example, forward_fn=nn.Module.__call__)
    for module, training in modes:
        module.training = training
    return graph


def _groups(graph: Any) -> dict[str, Any]:
    """The groups of coupled layers that may become narrower, by the name of the layer each starts from.

    The last layer's group is not one of them: nothing follows it, so its channels are the network's outputs.
    """
    names = {module: name for name, module in graph.model.named_modules()}
    groups = {}
    for group in graph.get_all_groups(ignored_layers=[], root_module_types=[nn.Conv2d, nn.Linear]):
        narrowed = [item.dep.target for item in group if graph.is_out_channel_pruning_fn(item.dep.handler)]
        if all(node.outputs for node in narrowed):
            groups[names[group[0].dep.target.module]] = group
    return groups


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
