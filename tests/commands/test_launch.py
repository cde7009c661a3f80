"""A launch as it is typed: where it runs, what it prints, what is kept of it, and how its last job goes on."""

from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.commands import launch
from harness.commands.launch import choose_executor
from harness.errors import TRY_AGAIN
from harness.executors import inline
from harness.launches import read_launches
from harness.placement import from_record
from harness.store import Store
from tests.executors.stand_in import StandIn


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A machine that belongs to a cluster, and a project of one file there."""
    stand_in = StandIn(tmp_path / "slurm")
    stand_in.install()
    monkeypatch.setenv("PATH", f"{stand_in.folder}:/usr/bin:/bin")
    monkeypatch.setattr("getpass.getuser", lambda: stand_in.user)
    (tmp_path / "project" / "harness").mkdir(parents=True)
    (tmp_path / "project" / "harness" / "run.py").write_text("")
    monkeypatch.setattr(launch, "ROOT", tmp_path / "project")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return stand_in


def test_auto_is_slurm_only_where_a_cluster_answers(cluster: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_executor("auto", dry_run=False, nodes=1) == "slurm"
    cluster.replace("sinfo", "#!/bin/sh\nexit 1\n")
    assert choose_executor("auto", dry_run=False, nodes=4) == "local"
    assert choose_executor("slurm", dry_run=False, nodes=1) == "slurm"
    monkeypatch.setenv("PATH", "/nowhere")
    assert choose_executor("auto", dry_run=False, nodes=1) == "local"
    assert choose_executor("auto", dry_run=True, nodes=4) == "slurm"
    assert choose_executor("auto", dry_run=True, nodes=1) == "local"


def test_a_launch_of_two_seeds_plans_both_and_tells_what_they_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    def dry_run(*options: str) -> list[str]:
        assert main(["launch", "digits", "--dry-run", "--store", str(tmp_path), *options]) == 0
        return capsys.readouterr().out.splitlines()

    one, two = dry_run("--seeds", "1"), dry_run("--seeds", "2")
    stages = [line for line in one if line.split()[2:3] == ["run"]]
    assert "seed" not in " ".join(stages)
    assert any(line.endswith("dense teacher, seed 1") for line in two)
    assert stages and set(stages) <= {line.replace(", seed 0", "") for line in two}, "seed 0 is what it was"
    assert two[-1].startswith("every entry by itself would take ") and ": sharing saves " in two[-1]


def test_no_seeds_are_no_launch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["launch", "digits", "--seeds", "0"])
    assert "'0' is not a positive whole number" in capsys.readouterr().err


def last_job(cluster: StandIn) -> list[str]:
    """What the last job types, after `harness`."""
    text = list(cluster.texts().values())[-1]
    (command,) = (line for line in text.splitlines() if "-m harness.cli" in line)
    return command.split("-m harness.cli ")[1].split()


def test_the_last_job_finds_in_the_record_whatever_was_typed(
    cluster: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sites.toml").write_text('[ours]\naccount = "lab"\n')
    typed = ["launch", "digits", "--seeds", "3", "--nodes", "1", "--gpus", "2", "--profile", "sites.toml:ours"]
    assert main([*typed, "--store", "store", "--results", "results", "--tries", "5", "--minutes", "90"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("nothing has to stay on this machine")
    (record,) = read_launches(Store(tmp_path / "store"))
    assert last_job(cluster) == ["follow", record.id, "--store", f"{tmp_path}/store"]
    assert record.table == ("digits", "full", 3, f"{tmp_path}/results")
    there = from_record(record.placement)
    assert (there.nodes, there.gpus, there.tries, there.minutes, there.site.account) == (1, 2, 5, 90, "lab")


def test_a_launch_that_is_followed_goes_on_alike_from_anywhere(
    cluster: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["launch", "digits", "--gpus", "1", "--store", "store", "--results", "results", "--tries", "5"]) == 0
    words, accepted = last_job(cluster), len(cluster.texts())
    cluster.end(*cluster.queue())
    monkeypatch.chdir("/")
    assert main(words) == 0
    assert last_job(cluster) == words
    assert len(cluster.texts()) == 2 * accepted
    newest, oldest = read_launches(Store(tmp_path / "store"))
    assert (newest.origin, oldest.origin) == (oldest.id, oldest.id) and newest.id != oldest.id
    assert (newest.placement, newest.stages) == (oldest.placement, {})


def test_what_slurm_refuses_the_last_job_is_tried_again(cluster: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody watches: a controller that is away for a while must not cost the table."""
    assert main(["launch", "digits", "--gpus", "1", "--store", "store", "--results", "results"]) == 0
    cluster.end(*cluster.queue())
    (cluster.folder / "refusal").write_text("allocation failure: Unable to contact slurm controller\n")
    capsys.readouterr()
    assert main(last_job(cluster)) == TRY_AGAIN
    assert capsys.readouterr().err == (
        "stopped: Slurm would refuse the jobs: allocation failure: Unable to contact slurm controller;"
        " the job is tried again\n"
    )


def test_typed_again_while_all_waits_it_says_where_it_is(cluster: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["launch", "digits", "--gpus", "1", "--store", "store", "--results", "results"]
    assert main(command) == 0
    accepted = cluster.texts()
    capsys.readouterr()
    assert main(command) == 0
    assert cluster.texts() == accepted
    assert "job 101 is in the queue: prepare" in capsys.readouterr().out


def test_a_dry_run_prints_every_batch_file_and_writes_nothing(
    cluster: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", "imagenet", "--nodes", "4", "--dry-run", "--store", "store", "--results", "results"]) == 0
    told = capsys.readouterr().out
    assert told.count("#!/bin/bash") == told.count("#SBATCH --job-name=harness-") > 5
    assert "#SBATCH --nodes=4\n" in told
    assert cluster.calls("sbatch") == []
    assert not (tmp_path / "store").exists()


def test_a_launch_on_this_machine_is_on_record_too(
    cluster: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(inline, "run", lambda *_: seen.extend(read_launches(Store(tmp_path / "store"))))
    main(["launch", "digits", "--executor", "inline", "--store", "store", "--results", "results"])
    (record,) = seen
    assert (record.executor, record.jobs, record.origin) == ("inline", (), record.id)
    assert {planned.stage for planned in record.stages.values()} >= {"prepare", "train", "evaluate"}


def test_a_store_on_a_read_only_place_is_said_before_anything_is_submitted(
    cluster: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", "digits", "--gpus", "1", "--store", "/proc/store", "--results", "results"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write to the store /proc/store: ") and error.count("\n") == 1
    assert cluster.texts() == {}
