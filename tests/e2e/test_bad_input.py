"""Bad input gets one clear line and exit code 2, and nothing is lost or half-written."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.benchmark import find_suite
from harness.cli import main
from harness.run import run_stages
from harness.store import Store
from harness.topology import Topology
from tests.executors.stand_in import StandIn

Tree = Callable[..., Path]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused; returns its one line."""

    def run(*arguments: str, store: Path = tmp_path / "store") -> str:
        code = main([*arguments, "--store", str(store), "--results", str(tmp_path / "results")])
        error = capsys.readouterr().err.strip()
        assert code == 2, error
        assert "\n" not in error
        assert error.startswith("error: ")
        assert not (tmp_path / "results").exists()
        published = {manifest.parts[-4] for manifest in (tmp_path / "store").glob("[a-z]*/??/*/manifest.json")}
        assert published <= {"prepare"}
        return error

    return run


def smoke(data: Path | None, *more: str) -> list[str]:
    return [
        "launch",
        "imagenet",
        "--suite",
        "smoke",
        *(["--data", str(data)] if data else []),
        "--executor",
        "inline",
        *more,
    ]


def test_names_that_are_nearly_right(refused: Callable[..., str]) -> None:
    assert "unknown benchmark 'imagnet': did you mean 'imagenet'?" in refused("launch", "imagnet")
    assert "unknown suite 'smok' of imagenet: did you mean 'smoke'?" in refused("launch", "imagenet", "--suite", "smok")
    assert "did you mean 'digits'?" in refused("leaderboard", "digit")


def test_a_data_folder_that_is_not_given_missing_or_empty(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "pass --data DIR" in refused(*smoke(None))
    assert f"{tmp_path / 'none'} does not exist" in refused(*smoke(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'} has no train/" in refused(*smoke(tmp_path / "empty"))


def test_a_class_in_only_one_split(refused: Callable[..., str], photo_tree: Tree) -> None:
    root = photo_tree()
    (root / "val" / "class001").rename(root / "val" / "class777")
    assert "class001" in refused(*smoke(root))


def test_a_class_without_images(refused: Callable[..., str], photo_tree: Tree) -> None:
    root = photo_tree()
    for file in (root / "train" / "class002").iterdir():
        file.unlink()
    assert str(root / "train" / "class002") in refused(*smoke(root))


def test_an_unreadable_image_is_named_before_anything_is_trained(refused: Callable[..., str], photo_tree: Tree) -> None:
    root = photo_tree()
    bad = root / "train" / "class001" / "2.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    assert str(bad) in refused(*smoke(root))


def test_batches_that_nodes_and_gpus_do_not_divide(refused: Callable[..., str]) -> None:
    line = refused("launch", "imagenet", "--nodes", "3", "--dry-run")
    assert "global batch of 1024 cannot be split over 24 ranks x 32 images" in line


def test_slurm_where_there_is_none(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, photo_tree: Tree
) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(os.__file__))
    assert "no sbatch" in refused(*smoke(photo_tree())[:-2], "--executor", "slurm")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """This machine belongs to a cluster, and its user has a file of profiles."""
    cluster = StandIn(tmp_path / "slurm")
    cluster.install()
    monkeypatch.setenv("PATH", f"{cluster.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "harness").mkdir(parents=True)
    (tmp_path / "config" / "harness" / "clusters.toml").write_text('[theirs]\npartitoin = "gpu"\n')
    return cluster


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--partition", "gpus"], "this cluster has no partition 'gpus': it has cpu, gpu"),
        (["--profile", "their"], "no table [their]: did you mean 'theirs'?"),
        (["--profile", "theirs"], "[theirs]: unknown key 'partitoin': did you mean 'partition'?"),
        (["--sbatch", "array=1-9"], "--sbatch: array is not to be set here: a plan decides it"),
        (
            ["--nodes", "2", "--gpus", "1"],
            "Slurm would refuse the jobs: allocation failure: Requested node configuration is not av",
        ),
    ],
    ids=["partition", "profile", "key of a profile", "option of sbatch", "nodes"],
)
def test_what_a_cluster_does_not_have(
    refused: Callable[..., str], cluster: StandIn, more: list[str], line: str
) -> None:
    (cluster.folder / "refusal").write_text("allocation failure: Requested node configuration is not available\n")
    assert line in refused("launch", "digits", "--executor", "slurm", *more)
    assert cluster.texts() == {}, "something was submitted"


def test_a_store_on_a_read_only_place(refused: Callable[..., str], cluster: StandIn) -> None:
    line = refused("launch", "digits", "--executor", "slurm", "--gpus", "1", store=Path("/proc/store"))
    assert "cannot write to the store /proc/store: " in line and "choose one with --store DIR" in line
    assert cluster.texts() == {}


def test_a_store_that_cannot_be_written(refused: Callable[..., str], tmp_path: Path, photo_tree: Tree) -> None:
    (tmp_path / "file").write_text("")
    line = refused(*smoke(photo_tree()), store=tmp_path / "file")
    assert f"cannot write to the store {tmp_path / 'file'}" in line


def test_too_few_images_for_a_batch(refused: Callable[..., str], photo_tree: Tree) -> None:
    assert "fewer than a global batch of 32" in refused(*smoke(photo_tree(train=2)))


def test_another_data_folder_than_the_store_was_prepared_from(
    refused: Callable[..., str], photo_tree: Tree, tmp_path: Path
) -> None:
    root, store = photo_tree(), Store(tmp_path / "store")
    prepare = find_suite("imagenet", "smoke")[1].entries[0].evaluate.inputs()[-1]
    run_stages([prepare], store, Topology(), data=root, workers=1, listener=lambda stage, event: None)
    (root / "train" / "class000" / "0.jpg").rename(root / "train" / "class000" / "other.jpg")
    assert f"prepared from other images than {root}" in refused(*smoke(root))


def test_a_table_of_nothing(refused: Callable[..., str]) -> None:
    assert "no rows of digits" in refused("leaderboard", "digits")


@pytest.mark.parametrize("flag", ["--nodes", "--gpus", "--workers"])
def test_counts_are_positive(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["launch", "digits", flag, "0"])
    assert stop.value.code == 2
    assert "'0' is not a positive whole number" in capsys.readouterr().err
