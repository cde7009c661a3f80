"""What a stage is, and its identity: canonical form, key, JSON round trip.

Lives here: `Stage`, `key`, `to_json`, `from_json`. Must not: files, clocks, hosts, anything that is placement.

A spec is a tree of frozen dataclasses, numbers, strings, booleans, None and tuples. The key of a stage is the
SHA-256 of its canonical form, in which nested stages are replaced by their keys. The whole spec is hashed; a
field is left out only when it equals its frozen *neutral* value (see `added_field`), never for being a default.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness import plugins
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.context import Context

_PLAIN = {bool, int, float, str, type(None)}
"""Most of what a spec holds; no stage is nested in it."""
Json = Any  # what the json module reads and writes


class Stage:
    """One step of a pipeline: a frozen dataclass (its spec) whose fields may hold the stages it needs.

    `version` is raised when the meaning of the code changes. `ranks` says how many processes the stage can use:
    "one", or "all" that the launch provides. `run` writes files into `context.folder` and returns a JSON payload.
    """

    version: ClassVar[int] = 1
    ranks: ClassVar[str] = "one"
    short: ClassVar[bool] = False
    """Whether it takes next to no time beside a training, and so no job of its own."""
    computes: ClassVar[bool] = True
    """Whether it can use a GPU."""
    keeps: ClassVar[str] = "stores"
    """What a plan says of the bytes that are kept of training images."""

    @cached_property
    def key(self) -> str:
        """64 hexadecimal digits that name this stage's artefact."""
        pending = self._unnamed
        while pending:  # what is nested first, without recursion: a chain of stages may be thousands deep
            stage = pending[-1]
            if unnamed := stage._unnamed:
                pending += unnamed
            else:
                pending.pop()
                vars(stage)["key"] = stage.key  # one level deep by now
        text = json.dumps(canonical(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def name(self) -> str:
        """`train`, `prune`, ...: the file name of the stage."""
        return plugins.tag_of(type(self)).rpartition(".")[2]

    @property
    def bytes_an_image(self) -> int | None:
        """What the stage keeps of each training image of its data, if that is much."""
        return None

    def inputs(self) -> list["Stage"]:
        """The stages nested directly in this one, in field order, each once."""
        return list({stage.key: stage for stage in self._nested}.values())

    @cached_property
    def _nested(self) -> tuple["Stage", ...]:
        """The stages nested directly in this one, in field order, as often as they occur."""
        return tuple(_stages_in(_values(self)))

    @property
    def _unnamed(self) -> list["Stage"]:
        """The nested ones whose keys nobody has asked for yet."""
        return [stage for stage in self._nested if "key" not in vars(stage)]

    def run(self, inputs: Mapping[str, Path], context: "Context") -> dict[str, Json]:
        """Do the work; `inputs` maps the key of each nested stage to its artefact's folder."""
        raise NotImplementedError


def added_field(*, default: Any, neutral: Any) -> Any:
    """A field added to a published spec: left out of the key while it equals `neutral`, the old behaviour."""
    return dataclasses.field(default=default, metadata={"neutral": neutral})


def canonical(stage: Stage) -> dict[str, Json]:
    """The form that is hashed and stored: tags for classes, keys for nested stages, lists for tuples."""
    return {"version": stage.version, **_dataclass(stage)}


def to_json(stage: Stage) -> str:
    """The canonical form as indented text; nested stages are named by key and stored beside it."""
    return json.dumps(canonical(stage), sort_keys=True, indent=1, allow_nan=False) + "\n"


def from_json(text: str, load_stage: Callable[[str], Stage]) -> Stage:
    """Inverse of `to_json`; `load_stage` fetches a nested stage by its key. Raises UserError on a damaged text."""
    try:
        stage = _decode({k: v for k, v in json.loads(text).items() if k != "version"}, load_stage)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(f"not a stage spec: {type(error).__name__} {error}") from error
    if not isinstance(stage, Stage):
        raise UserError(f"not a stage spec: {type(stage).__name__}")
    return stage


def nested_keys(text: str) -> list[str]:
    """Keys of the stages nested directly in the one that `to_json` wrote. Raises UserError on a damaged text."""
    found: list[str] = []

    def note(form: dict[str, Json]) -> None:
        if "stage" in form:
            found.append(form["stage"])

    try:
        json.loads(text, object_hook=note)
    except ValueError as error:
        raise UserError(f"not a stage spec: {type(error).__name__} {error}") from error
    return found


def model_from_json(value: Json) -> Any:
    """The spec object behind a plain encoded dataclass that holds no stages (an architecture, say)."""
    return _decode(value, _no_stage)


def encode(value: Any) -> Json:
    """The canonical form of any value a spec may hold."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"a spec holds finite numbers, not {value}")
        return int(value) if value.is_integer() else value  # 1.0 and 1 are the same number and get the same key
    if isinstance(value, Stage):
        return {"stage": value.key}
    if isinstance(value, tuple):
        return [encode(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass(value)
    raise TypeError(f"a spec cannot hold a {type(value).__name__}: {value!r}")


def _dataclass(value: Any) -> dict[str, Json]:
    cls: Any = type(value)
    form: dict[str, Json] = {"spec": _tag(cls)}
    for name, neutral in _fields(cls):
        item = getattr(value, name)
        if neutral is _NEVER or item != neutral:
            form[name] = encode(item)
    return form


_NEVER = object()
"""The neutral value of a field that is always hashed."""


@cache
def _tag(cls: type) -> str:
    return plugins.tag_of(cls)


@cache
def _fields(cls: type) -> list[tuple[str, Any]]:
    """Name and neutral value of every field of a spec class: a plan asks for them a million times."""
    return [(field.name, field.metadata.get("neutral", _NEVER)) for field in dataclasses.fields(cls)]


def _decode(value: Json, load_stage: Callable[[str], Stage]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(v, load_stage) for v in value)
    if not isinstance(value, dict):
        return value
    if "stage" in value:
        return load_stage(value["stage"])
    cls = plugins.class_of(value["spec"])
    fields: dict[str, Any] = {f.name: f.metadata["neutral"] for f in dataclasses.fields(cls) if "neutral" in f.metadata}
    fields.update({k: _decode(v, load_stage) for k, v in value.items() if k != "spec"})
    return cls(**fields)


def _no_stage(key: str) -> Stage:
    raise UserError(f"unexpected nested stage {key[:12]}")


def _values(spec: Any) -> tuple[Any, ...]:
    """What the fields hold; nothing of what is no spec, which `encode` refuses."""
    cls: Any = type(spec)
    return tuple(getattr(spec, name) for name, _ in _fields(cls)) if dataclasses.is_dataclass(spec) else ()


def _stages_in(value: Any) -> list[Stage]:
    """The stages that a field holds, without those nested in them."""
    if isinstance(value, Stage):
        return [value]
    items = value if isinstance(value, tuple) else _values(value)
    return [stage for item in items if type(item) not in _PLAIN for stage in _stages_in(item)]
