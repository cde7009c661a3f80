"""The cluster itself: what the tests of the executors may lean on."""

import sys
from pathlib import Path

from tests.cluster.slurm import NODES, SlurmCluster

ROOT = Path(__file__).parents[2]


def test_there_are_four_idle_nodes(slurm: SlurmCluster) -> None:
    listing = slurm.run(["sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %T %P"]).stdout.split("\n")
    assert listing[:-1] == [f"{node} idle main*" for node in NODES]


def test_one_step_spans_four_hosts(slurm: SlurmCluster) -> None:
    assert sorted(slurm.run(["srun", "--nodes=4", "hostname"]).stdout.split()) == list(NODES)


def test_ranks_on_four_nodes_meet_at_the_first_and_add_up(slurm: SlurmCluster) -> None:
    step = slurm.run(
        [
            "env",
            "HARNESS_MASTER=n1",
            "srun",
            "--nodes=4",
            f"--chdir={ROOT}",
            sys.executable,
            "-m",
            "tests.cluster.all_reduce",
        ],
        timeout=120,
    )
    assert step.returncode == 0, step.stderr
    assert sorted(step.stdout.splitlines()) == [f"{node} 4 10" for node in NODES]


def test_a_failed_parent_takes_its_child_along(slurm: SlurmCluster, tmp_path: Path) -> None:
    parent = _submit(slurm, tmp_path, "exit 3")
    child = _submit(slurm, tmp_path, "exit 0", f"--dependency=afterok:{parent}", "--kill-on-invalid-dep=yes")
    assert slurm.wait([parent, child]) == {parent: "FAILED", child: "CANCELLED"}


def test_a_cancelled_job_ends(slurm: SlurmCluster, tmp_path: Path) -> None:
    job = _submit(slurm, tmp_path, "sleep 600")
    assert slurm.run(["scancel", job]).returncode == 0
    assert slurm.wait([job]) == {job: "CANCELLED"}


def test_a_requeued_job_starts_again_soon(slurm: SlurmCluster, tmp_path: Path) -> None:
    job = _submit(slurm, tmp_path, 'test "${SLURM_RESTART_COUNT:-0}" = 1 || scontrol requeue "$SLURM_JOB_ID"; sleep 1')
    assert slurm.wait([job], timeout=30) == {job: "COMPLETED"}
    assert "Restarts=1" in slurm.run(["scontrol", "show", "job", job]).stdout


def _submit(slurm: SlurmCluster, folder: Path, body: str, *options: str) -> str:
    script = folder / "job.sh"
    script.write_text(f"#!/bin/sh\n{body}\n")
    answer = slurm.run(["sbatch", "--parsable", f"--output={folder}/%j.out", *options, str(script)])
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()
