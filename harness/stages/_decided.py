"""What a stage decides once for all of its attempts.

Lives here: `decided_masks`. Must not: how it is decided.

Scores may differ in a tie from one attempt to the next, on other GPUs say; a checkpoint belongs to the first decision.
"""

import os
from collections.abc import Callable

from safetensors.torch import load_file, save_file

from harness.context import Context
from harness.engine.group import from_rank_0, same_on_all_ranks
from harness.pruning.mask import Masks
from harness.store import flush

MASKS = "masks.safetensors"


def decided_masks(choose: Callable[[], Masks], context: Context) -> Masks:
    """The masks an earlier attempt has left, else what `choose` says: rank 0's, on all ranks, left for the next one."""
    path = context.unfinished / MASKS
    if from_rank_0(path.exists()):
        saved = load_file(path, device=context.device)
        return {numbered.partition(" ")[2]: saved[numbered] for numbered in sorted(saved)}
    masks = choose()
    same_on_all_ranks(masks.values())
    if context.topology.leads:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        in_order = enumerate(masks.items())
        save_file({f"{place:06} {name}": mask.cpu().contiguous() for place, (name, mask) in in_order}, part)
        flush(part)
        os.replace(part, path)
    return masks
