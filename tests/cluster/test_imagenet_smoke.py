"""The main job on a real cluster: four nodes, one rank on each, a tree of real JPEG files, to the table."""

import csv
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.slurm import SlurmCluster
from tests.conftest import write_photo_tree

ROOT = Path(__file__).parents[2]
CLASSES, TRAIN, VAL = 7, 10, 3
"""21 validation images: four ranks cannot share them evenly, so padding would show."""

Launch = Callable[[], list[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the photographs, the store and the results."""
    folder = tmp_path_factory.mktemp("imagenet")
    write_photo_tree(folder / "photos", classes=CLASSES, train=TRAIN, val=VAL)
    return folder


@pytest.fixture(scope="module")
def launch(slurm: SlurmCluster, folder: Path) -> Launch:
    """Types the command; returns the lines it printed."""
    command = [
        sys.executable,
        "launch/imagenet.py",
        "--nodes",
        "4",
        "--suite",
        "smoke",
        "--data",
        str(folder / "photos"),
    ]
    command += ["--store", str(folder / "store"), "--results", str(folder / "results"), "--minutes", "60"]

    def run() -> list[str]:
        started = time.monotonic()
        done = slurm.run(["env", "-C", str(ROOT), *command])
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - started < 30, "the login node is left at once"
        return done.stdout.splitlines()

    return run


@pytest.fixture(scope="module")
def jobs(slurm: SlurmCluster, folder: Path, launch: Launch) -> list[str]:
    """What the jobs of the first launch are, all well ended; a second launch meanwhile submits nothing twice."""
    titles = job_titles(launch())
    assert job_titles(launch()) == {}, "what is queued is left alone"
    states = slurm.wait(list(titles.values()), timeout=1500)
    bad = {job: state for job, state in states.items() if state != "COMPLETED"}
    logs = "\n".join(p.read_text()[-2000:] for p in sorted((folder / "store/logs/slurm").glob("*_0_log.out")))
    assert not bad, f"{bad}\n{logs}"
    return list(titles)


def job_titles(lines: list[str]) -> dict[str, str]:
    """Job id by what the job is."""
    found = (re.fullmatch(r"job (\d+): (?:the )?(table|[^,]*.*)", line) for line in lines)
    return {match[2].partition(", in")[0]: match[1] for match in found if match}


def test_long_stages_are_jobs_and_short_ones_share_theirs(jobs: list[str], folder: Path) -> None:
    manifests = list((folder / "store").glob("[a-z]*/??/*/manifest.json"))
    assert len(manifests) == 12
    assert len(jobs) == 6, "images, teacher, two ways to prune it, an array of students, the table"
    assert {manifest.parts[-4] for manifest in manifests} == {
        "prepare", "train", "prune", "prune_channels", "student", "distill", "evaluate",
    }  # fmt: skip


def test_the_four_ranks_worked_as_one(jobs: list[str], folder: Path) -> None:
    manifests = [json.loads(p.read_text()) for p in (folder / "store").glob("[a-z]*/??/*/manifest.json")]
    alone = {"prepare", "student"}
    assert {m["provenance"]["ranks"] for m in manifests if m["stage"] in alone} == {1}
    assert {m["provenance"]["ranks"] for m in manifests if m["stage"] not in alone} == {4}


def test_the_table_counts_every_validation_image_once(jobs: list[str], folder: Path) -> None:
    with open(folder / "results" / "imagenet-smoke.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert {int(row["n"]) for row in rows} == {CLASSES * VAL}
    assert {int(row["ranks"]) for row in rows} == {4}
    text = (folder / "results" / "imagenet-smoke.md").read_text()
    assert all(text.count(f"| {row['entry']} |") == 2 for row in rows), "results, and what the predictions are like"


def test_typed_again_it_submits_nothing_and_shows_the_table(jobs: list[str], launch: Launch) -> None:
    lines = launch()
    assert job_titles(lines) == {}
    assert any("0 to run" in line for line in lines)
    assert any(line.startswith("formed student from the pruned teacher") for line in lines)
