"""`harness simulate`: when, at what price, and what interruptions take."""

import argparse
import re
from pathlib import Path

import pytest

from harness.benchmark import find_suite
from harness.commands.simulate import add_to
from harness.errors import exit_code
from harness.journal import Journal
from harness.plan import make_plan
from harness.store import Store


def simulate(folder: Path, *words: str) -> int:
    """The command, on a store and results of its own."""
    parser = argparse.ArgumentParser()
    add_to(parser.add_subparsers())
    folders = ["--store", str(folder / "store"), "--results", str(folder / "results")]
    options = parser.parse_args(["simulate", *words, *folders])
    return exit_code(lambda: options.run(options))


@pytest.fixture(autouse=True)
def login_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No GPU, and no profile of whoever runs this."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_more_nodes_are_never_slower_and_the_critical_path_says_what_is_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(tmp_path, "imagenet", "--nodes", "2,4,64") == 0
    device, head, _, *lines = capsys.readouterr().out.splitlines()
    assert device == "assumed device: GPU"
    assert re.fullmatch(r"imagenet full: \d+ stages to run, a training on 1 x 8 GPUs", head)
    table = [re.split(r"\s{2,}", line.replace(" %", "")) for line in lines[:3]]
    assert [row[0] for row in table] == ["2", "4", "64"]
    busy = [int(row[3]) for row in table]
    assert busy == sorted(busy, reverse=True)
    assert table[2][1] == table[2][2], "64 nodes wait for the longest chain alone"
    path = lines[3:-5]
    assert path[0] == f"critical path, {table[2][1]} on any number of nodes:"
    assert [line.split()[-2].strip() for line in path[1:2]] == ["prepare"]
    assert sum("modelled  prune (" in line for line in path) == 7, "seven rounds, one after the other"
    assert "distill (" in path[-1], "which is evaluated in the same job"


def test_wider_jobs_shorten_the_path_and_cost_their_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def at_least_and_hours(*words: str) -> tuple[int, float]:
        assert simulate(tmp_path, "imagenet", "--suite", "public", "--nodes", "64", *words) == 0
        row = re.split(r"\s{2,}", capsys.readouterr().out.splitlines()[3])
        hours, minutes = re.findall(r"\d+", row[2])
        return 60 * int(hours) + int(minutes), float(row[-1].replace(",", ""))

    (narrow, cheap), (wide, dear) = at_least_and_hours(), at_least_and_hours("--nodes-per-job", "4")
    assert wide < narrow
    assert cheap < dear


def test_a_finished_benchmark_needs_no_queue(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for step in make_plan(find_suite("digits", None)[1].wanted, store):
        with store.aside(step.stage) as folder:
            store.publish(step.stage, folder, {"images": {"train": 1437, "val": 360}}, {})
    assert simulate(tmp_path, "digits", "--nodes", "2") == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["digits full: 0 stages to run, a training on 1 x 1 CPU cores"]


def test_a_profile_tells_what_the_login_node_cannot_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clusters = tmp_path / "clusters.toml"
    clusters.write_text('[wide]\ngpus = 4\n\n[single]\ngres = "gpu:a100:1"\n\n[cores]\npartition = "cpu"\n')

    def told(*words: str) -> list[str]:
        assert simulate(tmp_path, "digits", "--nodes", "2", *words) == 0
        return capsys.readouterr().out.splitlines()[:2]

    assert told()[0].startswith("assumed device: CPU core; no GPU is here")
    assert told("--profile", f"{clusters}:cores")[0].startswith("assumed device: CPU core")
    device, head = told("--profile", f"{clusters}:wide")
    assert (device, head.split(", ")[1]) == ("assumed device: GPU", "a training on 1 x 4 GPUs")
    device, head = told("--profile", f"{clusters}:single")
    assert (device, head.split(", ")[1]) == ("assumed device: GPU", "a training on 1 x 1 GPUs")


def test_goodput_rests_on_journals_and_says_so(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(tmp_path, "digits", "--nodes", "2") == 0
    assumed = capsys.readouterr().out
    assert "a checkpoint every 60 s, which holds it up for 0.5 s (assumed); 60 s to start again (assumed)" in assumed
    train = next(s.stage for s in make_plan(find_suite("digits", None)[1].wanted, store) if s.stage.name == "train")
    journal = Journal(store.journal_path(train.key))
    journal.write("start", stage="train", ranks=1)
    journal.write("saved", updates=10, seconds=3.0)
    assert simulate(tmp_path, "digits", "--nodes", "2") == 0
    told = capsys.readouterr().out
    assert "a checkpoint every 300 s, which holds it up for 3 s (measured); 60 s to start again (assumed)" in told
    before, after = (
        float(re.findall(r"([\d.]+) %  a preemption every 30 min, without", t)[0]) for t in (assumed, told)
    )
    assert before >= 90
    assert after < before - 5, "half of 300 s is lost each time"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["digits", "--nodes", "4,x"], "--nodes 4,x: 'x' is not a positive whole number"),
        (["digits", "--nodes", "0"], "--nodes 0: '0' is not a positive whole number"),
        (["digits", "--nodes", "8,4", "--nodes-per-job", "5"], "--nodes-per-job 5 is more than --nodes 4"),
        (["digit", "--nodes", "4"], "unknown benchmark 'digit'"),
        (["imagenet", "--suite", "smoke", "--nodes", "4"], "has no estimate: prepare its images first"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(tmp_path, *words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert complaint in said.err
