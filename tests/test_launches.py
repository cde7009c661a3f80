"""What was launched into a store can be read by whoever comes later."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.launches import Job, new_id, read_launches, write_launch
from harness.store import Store
from tests.commands import toy

JOBS = (
    Job(
        name="harness-train-0a1b2c3d.0", tasks=((toy.key("dense"), toy.key("pruned")), (toy.key("other"),)), array=True
    ),
    Job(name="harness-table-0a1b2c3d.1", tasks=(), array=False),
)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    launch = toy.launch(jobs=JOBS)
    path = write_launch(launch, store)
    assert path == store.root / "launches" / f"{launch.id}.json"
    assert read_launches(store) == [launch]
    assert launch.stages[toy.key("dense")].title == "train (dense)"


def test_the_newest_comes_first(store: Store) -> None:
    for id_, time in (("aaaaaaaa", 2.0), ("bbbbbbbb", 3.0), ("cccccccc", 1.0)):
        write_launch(replace(toy.launch(id_=id_), time=time), store)
    assert [launch.id for launch in read_launches(store)] == ["bbbbbbbb", "aaaaaaaa", "cccccccc"]


def test_a_store_without_launches_has_none(store: Store) -> None:
    assert read_launches(store) == []


def test_what_a_killed_writer_left_is_no_record(store: Store) -> None:
    path = write_launch(toy.launch(), store)
    path.with_name(f".{path.name}-0123").write_text("{")
    assert len(read_launches(store)) == 1


def spoilt(path: Path, change: Callable[[dict[str, Any]], Any]) -> str:
    form = json.loads(path.read_text())
    change(form)
    return json.dumps(form)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: "",
        lambda path: "[]",
        lambda path: "{}",
        lambda path: "null",
        lambda path: "\x00",
        lambda path: path.read_text()[:-40],
        lambda path: spoilt(path, lambda form: form.pop("jobs")),
        lambda path: spoilt(path, lambda form: form["jobs"][0].pop("tasks")),
        lambda path: spoilt(path, lambda form: form["stages"].update({"../../etc": {}})),
        lambda path: spoilt(path, lambda form: next(iter(form["stages"].values())).update(stage="../train")),
        lambda path: spoilt(path, lambda form: form["jobs"][0]["tasks"].append(["F" * 64])),
        lambda path: spoilt(path, lambda form: next(iter(form["stages"].values())).update(inputs=["0" * 63])),
    ],
    ids=["empty", "list", "nothing", "null", "zero", "cut", "no jobs", "no tasks", "key", "stage", "task", "input"],
)
def test_a_record_that_cannot_be_read_is_told_and_the_others_count(
    store: Store, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], str]
) -> None:
    """Nobody's launch is to fail for what somebody else's left; what is no key must not become a path."""
    whole = toy.launch(id_="ffffffff", jobs=JOBS)
    write_launch(whole, store)
    path = write_launch(toy.launch(jobs=JOBS), store)
    path.write_text(damage(path))
    assert read_launches(store) == [whole]
    error = capsys.readouterr().err
    assert error.startswith(f"{path} is passed over: no record of a launch (") and error.count("\n") == 1


def test_what_newer_code_adds_to_a_record_is_ignored(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    launch = toy.launch(jobs=JOBS)
    path = write_launch(launch, store)

    def newer(form: dict[str, Any]) -> None:
        for part in (form, form["jobs"][0], next(iter(form["stages"].values()))):
            part["colour"] = "red"

    path.write_text(spoilt(path, newer))
    assert read_launches(store) == [launch]
    assert capsys.readouterr().err == ""


def test_a_record_says_which_table_it_draws_and_on_how_many_machines() -> None:
    launch = toy.launch()
    assert launch.table == ("imagenet", "full", 1, "results")
    assert launch.shape == (4, 8)


def test_ids_are_eight_hexadecimal_digits_and_differ() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id_) == 8 and set(id_) <= set("0123456789abcdef") for id_ in ids)
