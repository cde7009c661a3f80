"""The file system is the registry: `models.vgg` names the class `VGG` in `harness/models/vgg.py`.

Lives here: tag <-> class, the names of a kind, and "did you mean". Must not: any list of plug-ins.
"""

import difflib
import importlib
import re
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UserError

PACKAGE = Path(__file__).parent
_TAG = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")


def tag_of(cls: type) -> str:
    """`harness.models.vgg.VGG` -> `models.vgg`; the class must be the one its file is named after."""
    package, _, tag = cls.__module__.partition(".")
    if package != "harness" or _stem(tag) != cls.__name__.lower():
        raise TypeError(f"{cls.__module__}.{cls.__name__}: a spec class lives in a harness file named after it")
    return tag


def class_of(tag: str) -> type:
    """`models.vgg` -> `harness.models.vgg.VGG`. Raises UserError with the nearest name if there is none."""
    kind, _, name = tag.rpartition(".")
    if not _TAG.fullmatch(tag) or name not in names(kind):
        known = names(kind) if _TAG.fullmatch(tag) else []
        raise UserError(f"unknown {kind or 'spec'} {name!r}{did_you_mean(name, known)}")
    module = importlib.import_module(f"harness.{tag}")
    for cls in vars(module).values():
        if isinstance(cls, type) and cls.__module__ == module.__name__ and cls.__name__.lower() == _stem(tag):
            return cls
    raise UserError(f"harness/{tag.replace('.', '/')}.py holds no class {_stem(tag)!r} (in any letter case)")


def names(kind: str) -> list[str]:
    """The plug-ins of a kind, by file name; files with a leading underscore are not plug-ins."""
    return sorted(p.stem for p in (PACKAGE / kind).glob("*.py") if not p.stem.startswith("_"))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error line: the nearest known name if there is one, else all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f": did you mean {near[0]!r}?"
    return f": known are {', '.join(known)}" if known else ""


def _stem(tag: str) -> str:
    return tag.rpartition(".")[2].replace("_", "")
