"""Sets that torchvision reads and downloads.

Lives here: `stored`, and the check that a folder is named. Must not: any one set, pixels.
"""

from pathlib import Path
from typing import Any

from harness.data.source import Split
from harness.errors import UserError


def require_folder(root: Path | None, name: str, holds: str) -> Path:
    """The folder that holds or may receive `holds`. Raises UserError if none is named."""
    if root is None:
        raise UserError(f"{name} needs a data folder: pass --data DIR that holds or may receive {holds}")
    return root


def stored(name: str, split: Split, root: Path, holds: str) -> Any:
    """The split of `torchvision.datasets.<name>` in `root`; what is absent is downloaded there.

    Raises UserError if it can be neither read nor downloaded.
    """
    from torchvision import datasets

    try:
        return getattr(datasets, name)(str(root), train=split == "train", download=True)
    except (OSError, RuntimeError, EOFError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read {name} in {root} or download it ({reason}): put {holds} there") from error
