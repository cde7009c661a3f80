"""Identity: the same science has the same key, other science another one."""

import dataclasses
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness import plugins, spec
from harness.benchmark import find_suite
from harness.errors import UserError
from harness.plan import make_plan
from harness.spec import Stage, from_json, to_json
from harness.store import Store
from harness.topology import Topology
from tests.golden.pin import pinned_suites

ROOT = Path(__file__).parents[1]


def stages_of_all_suites() -> list[Stage]:
    """One stage for each key that any benchmark plans under seed 0."""
    found: dict[str, Stage] = {}
    for benchmark, suite in pinned_suites():
        steps = make_plan(find_suite(benchmark, suite, 1)[1].wanted, Store(Path("nowhere")))
        found |= {step.stage.key: step.stage for step in steps}
    return list(found.values())


def made_of(stage: Stage) -> tuple[str, ...]:
    """The kinds of spec a stage holds, its own first."""
    return tuple(re.findall(r'"spec": "([^"]+)"', to_json(stage)))


ALL = stages_of_all_suites()
ONE_OF_EACH = list({made_of(stage): stage for stage in ALL}.values())


def variations(value: Any) -> list[tuple[str, Any]]:
    """(where, a copy of a spec with one field changed), for every field at any depth; a nested stage changes once."""
    found = []
    for field in dataclasses.fields(value):
        old = getattr(value, field.name)
        if dataclasses.is_dataclass(old):
            inner = variations(old)[:1] if isinstance(old, Stage) else variations(old)
            found += [(f"{field.name}.{where}", with_field(value, field.name, new)) for where, new in inner]
        else:
            found.append((field.name, with_field(value, field.name, another(old))))
    return found


def with_field(value: Any, name: str, new: Any) -> Any:
    """A copy with another value in one field, past any check of values: only the key matters here."""
    copy = replace(value)
    object.__setattr__(copy, name, new)
    return copy


def another(old: Any) -> Any:
    """A value that is not `old`."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, (int, float)):
        return old + 1
    if isinstance(old, str):
        return old + "x"
    return (*old, 7) if isinstance(old, tuple) else 5


def test_changing_any_field_of_any_stage_changes_its_key() -> None:
    seen = 0
    for stage in ONE_OF_EACH:
        for where, other in variations(stage):
            assert other.key != stage.key, f"{stage.name}: {where} does not reach the key"
            seen += 1
    assert {stage.name for stage in ONE_OF_EACH} == {stage.name for stage in ALL}
    assert seen > 20 * len({stage.name for stage in ALL})


def test_every_stage_of_every_benchmark_survives_json() -> None:
    by_key = {stage.key: stage for stage in ALL}
    for stage in ALL:
        again = from_json(to_json(stage), by_key.__getitem__)
        assert again == stage
        assert again.key == stage.key


def test_a_raised_version_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ALL[0]
    before = stage.key
    monkeypatch.setattr(type(stage), "version", stage.version + 1)
    assert replace(stage).key != before  # type: ignore[type-var]


def test_whole_numbers_are_the_same_however_they_are_written() -> None:
    assert spec.encode(1.0) == spec.encode(1)
    assert spec.encode(True) is True


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1], {"a": 1}, object()])
def test_a_spec_refuses_what_has_no_one_written_form(value: object) -> None:
    with pytest.raises(TypeError, match="a spec"):
        spec.encode(value)


def test_a_stage_that_holds_a_list_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"a spec cannot hold a list: \[1\]"):
        _ = with_field(ALL[0], "source", [1]).key


class TestAddedField:
    """A field added later: its neutral value is the past, and its default may move."""

    @staticmethod
    def key(monkeypatch: pytest.MonkeyPatch, *, default: int | None, value: int | None = None) -> str:
        if default is None:

            @dataclass(frozen=True, kw_only=True)
            class Old(Stage):
                a: int = 1

            cls: type = Old
        else:

            @dataclass(frozen=True, kw_only=True)
            class New(Stage):
                a: int = 1
                b: int = spec.added_field(default=default, neutral=0)

            cls = New
        monkeypatch.setattr(plugins, "tag_of", lambda _: "stages.toy")
        key: str = (cls() if value is None else cls(b=value)).key
        return key

    def test_the_neutral_value_keeps_the_old_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old = self.key(monkeypatch, default=None)
        assert self.key(monkeypatch, default=0) == old
        assert self.key(monkeypatch, default=5, value=0) == old

    def test_a_default_that_moves_moves_the_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.key(monkeypatch, default=5) != self.key(monkeypatch, default=6)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"spec": "stages.train"}', '{"spec": "os.path"}', '{"spec": "../x"}']
)
def test_a_damaged_spec_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError) as refusal:
        from_json(text, lambda key: pytest.fail(key))
    assert "\n" not in str(refusal.value)


def test_an_unknown_plug_in_names_its_neighbour() -> None:
    with pytest.raises(UserError, match="unknown models 'resnett': did you mean 'resnet'"):
        plugins.class_of("models.resnett")


def planned_keys(*placement: str) -> tuple[str, ...]:
    """The first digits of the keys of the ImageNet suite, as a dry run shows them."""
    dry_run = [sys.executable, "launch/imagenet.py", "--dry-run", "--store", "nowhere", *placement]
    told = subprocess.run(dry_run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(line.split()[1] for line in told.splitlines() if line.split()[2:3] == ["run"])


def test_placement_is_no_part_of_any_key() -> None:
    plans = {planned_keys("--nodes", nodes, "--gpus", gpus) for nodes, gpus in [("1", "8"), ("4", "8"), ("2", "4")]}
    assert len(plans) == 1
    assert len(plans.pop()) > 10
    assert not {"rank", "world", "nodes", "gpus"} & {f.name for stage in ALL for f in dataclasses.fields(stage)}  # type: ignore[arg-type]
    assert Topology().world == 1
