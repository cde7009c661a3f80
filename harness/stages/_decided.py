"""What a stage decides once for all of its attempts.

Lives here: `decided_masks`, `decided_channels`. Must not: how it is decided.

Scores may differ in a tie from one attempt to the next, on other GPUs say; a checkpoint belongs to the first decision.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

from harness.context import Context
from harness.engine.group import from_rank_0, same_on_all_ranks
from harness.errors import StageError, UserError
from harness.pruning.mask import Masks
from harness.spec import Json
from harness.store import flush, replace_file

MASKS, CHANNELS = "masks.safetensors", "channels.json"
"""In `context.unfinished`: what was decided, for later attempts."""


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


def decided_channels(choose: Callable[[], dict[str, Json]], context: Context) -> dict[str, Json]:
    """What an earlier attempt has left, else what `choose` says: rank 0's, on all ranks, left for the next attempt.

    Every rank chooses, for none may wait long; but clocks and GPUs differ, so rank 0's outcome counts, be it an error.
    """
    path = context.unfinished / CHANNELS
    try:
        outcome = _left(path)
        if outcome is None:
            outcome = choose()
            if context.topology.leads:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, json.dumps(outcome))
    except UserError as error:
        outcome = {"wrong": str(error)}
    except (StageError, OSError) as error:
        outcome = {"failed": str(error)}
    outcome = from_rank_0(outcome)
    if "wrong" in outcome:
        raise UserError(outcome["wrong"])
    if "failed" in outcome:
        raise StageError(outcome["failed"])
    return outcome


def _left(path: Path) -> dict[str, Json] | None:
    """What an earlier attempt has chosen."""
    if not path.exists():
        return None
    try:
        choice: dict[str, Json] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): delete its folder and run the same command again") from error
    return choice
