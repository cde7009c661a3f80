"""What was launched into a store can be read by whoever comes later."""

import json
from dataclasses import replace

import pytest

from harness.errors import UserError
from harness.launches import Job, new_id, read_launches, write_launch
from harness.store import Store
from tests.commands import toy

JOBS = (
    Job(name="harness-train-0a1b2c3d.0", tasks=(("k0", "k1"), ("k2",)), array=True),
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


@pytest.mark.parametrize("damage", ["", "[]", "{}", "null", "missing", "unknown", "\x00"])
def test_a_damaged_record_is_named(store: Store, damage: str) -> None:
    path = write_launch(toy.launch(), store)
    form = json.loads(path.read_text())
    if damage == "missing":
        del form["jobs"]
    if damage == "unknown":
        form["colour"] = "red"
    path.write_text(json.dumps(form) if damage in ("missing", "unknown") else damage)
    with pytest.raises(UserError, match=rf"^{path} is no record of a launch .*: delete it") as error:
        read_launches(store)
    assert "\n" not in str(error.value)


def test_ids_are_eight_hexadecimal_digits_and_differ() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id_) == 8 and set(id_) <= set("0123456789abcdef") for id_ in ids)
