"""Every fault alone: what Slurm does to a job whose batch script ends as ours do, and that all of it is healed."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster import faults
from tests.cluster.faults import Heal, Victim
from tests.cluster.slurm import SlurmCluster

RANK = """\
#!/bin/sh
say() { echo "attempt ${SLURM_RESTART_COUNT:-0} rank $SLURM_PROCID $1" >> "$LOG"; }
trap 'trap "" TERM; say USR2; sleep 1; exit 75' USR2
trap 'say TERM; exit 75' TERM
say starts
while :; do sleep 0.1; done
"""
BATCH = """\
#!/bin/bash
export LOG={log}-${{SLURM_ARRAY_TASK_ID:-0}}
srun --kill-on-bad-exit=1 {rank}
code=$?
job=$SLURM_JOB_ID
[ -z "$SLURM_ARRAY_JOB_ID" ] || job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
case $code in 0|1|2) exit $code;; *) scontrol requeue "$job";; esac
"""

Fault = Callable[[Victim], Heal]


class Job(Victim):
    """A victim that tells what happens to it."""

    def told(self) -> list[str]:
        """What its ranks have said, without order among those of an attempt."""
        log = self.cluster.folder / f"{self.job.partition('_')[0]}.log-{self.job.partition('_')[2] or 0}"
        return sorted(log.read_text().splitlines()) if log.exists() else []

    def facts(self) -> dict[str, str]:
        """What Slurm knows of it."""
        shown = self.cluster.run(["scontrol", "show", "job", self.job]).stdout
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def started(self, attempt: int, ranks: int = 2) -> bool:
        """Whether all ranks of this attempt run."""
        lines = {f"attempt {attempt} rank {rank} starts" for rank in range(ranks)}
        return lines <= set(self.told()) and len({process.rank for process in self.cluster.ranks(self.job)}) == ranks

    def pids(self) -> list[int]:
        return [process.pid for process in self.cluster.ranks(self.job)]


Submit = Callable[..., Job]


@pytest.fixture
def submit(slurm: SlurmCluster) -> Iterator[Submit]:
    """Submits a job of two ranks that wait; at the end of the test all are cancelled, and the nodes are idle again."""
    jobs: list[str] = []

    def sbatch(*options: str, rank: int = 0, task: str = "") -> Job:
        number = len(jobs)
        script, ranks = slurm.folder / f"{number}.sh", slurm.folder / "rank.sh"
        ranks.write_text(RANK)
        ranks.chmod(0o755)
        script.write_text(BATCH.format(log=f"{slurm.folder}/${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}.log", rank=ranks))
        wish = ["--ntasks=2", "--output=/dev/null", *options]
        answer = slurm.run(["sbatch", "--parsable", *wish, str(script)])
        assert answer.returncode == 0, answer.stderr
        jobs.append(answer.stdout.strip())
        return Job(slurm, jobs[-1] + task, rank)

    yield sbatch
    slurm.run(["scancel", *jobs])
    slurm.wait(jobs)
    slurm.await_nodes()


def test_jobs_struck_at_the_same_moment_hear_of_it_and_start_again(submit: Submit) -> None:
    warned = "--signal=USR2@10"
    jobs: dict[str, tuple[Job, Fault, list[str]]] = {
        "requeued": (submit("--nodelist=n1"), faults.requeue, ["rank 0 TERM", "rank 1 TERM"]),
        "one rank killed": (submit("--nodelist=n1"), faults.kill_rank, ["rank 1 TERM"]),
        "all ranks killed": (submit("--nodelist=n4"), faults.kill_all_ranks, []),
        "preempted": (submit("--nodelist=n2", warned), faults.preempt, ["rank 0 USR2", "rank 1 USR2"]),
        "preempted with grace": (
            submit("--nodelist=n3", "--partition=grace", warned), faults.preempt, ["rank 0 USR2", "rank 1 USR2"],
        ),
    }  # fmt: skip
    until(lambda: all(job.started(0) for job, _, _ in jobs.values()))
    with ExitStack() as healing:
        for job, fault, _ in jobs.values():
            healing.callback(fault(job))
        time.sleep(2)  # urgent jobs have their nodes meanwhile
    until(lambda: all(job.started(1) for job, _, _ in jobs.values()))
    starts = [f"attempt {attempt} rank {rank} starts" for attempt in (0, 1) for rank in (0, 1)]
    expected = {name: sorted([*starts, *(f"attempt 0 {line}" for line in said)]) for name, (_, _, said) in jobs.items()}
    told = {name: job.told() for name, (job, _, _) in jobs.items()}
    told["preempted"] = [line.replace("TERM", "USR2") for line in told["preempted"]]  # whichever is first, at once
    assert told == expected
    assert {job.facts()["Restarts"] for job, _, _ in jobs.values()} == {"1"}


def test_a_cancelled_task_is_not_put_back_and_its_sister_runs_on(submit: Submit) -> None:
    task = submit("--ntasks=1", "--array=0-1", task="_1")
    sister = Job(task.cluster, task.job.replace("_1", "_0"))
    until(lambda: task.started(0, ranks=1) and sister.started(0, ranks=1))
    faults.cancel(task)
    until(lambda: "attempt 0 rank 0 TERM" in task.told() and task.pids() == [])
    time.sleep(2)  # its batch script would have put it back by now
    assert (task.facts()["JobState"], task.facts()["Restarts"]) == ("CANCELLED", "0")
    assert sister.told() == ["attempt 0 rank 0 starts"]
    assert len(sister.pids()) == 1


def test_what_slurm_does_not_see_or_forgives_leaves_the_job_alone(submit: Submit) -> None:
    job = submit("--nodes=2", rank=1)
    until(lambda: job.started(0))
    pids = job.pids()

    go_on = faults.hang_rank(job)
    hanging = Path(f"/proc/{job.process().pid}/stat")
    assert hanging.read_text().split()[2] == "T"
    go_on()
    until(lambda: hanging.read_text().split()[2] == "S")

    plug_in = faults.cut_link(job)
    reach = ["timeout", "1", "bash", "-c", "</dev/tcp/ctl/6817"]
    assert job.cluster.inside(job.process().node, reach).returncode == 124
    time.sleep(3)
    plug_in()
    faults.restart_controller(job)

    assert job.pids() == pids
    assert job.told() == ["attempt 0 rank 0 starts", "attempt 0 rank 1 starts"]
    assert (job.facts()["JobState"], job.facts()["Restarts"]) == ("RUNNING", "0")


@pytest.mark.usefixtures("at_length")
def test_what_slurm_sees_after_half_a_minute(submit: Submit) -> None:
    """Three at once, to wait only once: a time limit, a dead node, and a cut link with a writer behind it."""
    cut = submit("--nodes=2", "--cpus-per-task=3", rank=1)
    failing = submit("--nodes=1", "--cpus-per-task=2")
    timing_out = submit("--signal=USR2@60", "--nodes=1", "--time=2:00:00")
    until(lambda: all(job.started(0) for job in (cut, failing, timing_out)))
    zombie = cut.process()
    assert len({failing.process().node, zombie.node, timing_out.process().node}) == 3

    restore_limit = faults.time_out(timing_out)
    revive = faults.fail_node(failing)
    plug_in = faults.cut_link(cut)
    assert failing.pids() == []

    until(lambda: failing.facts()["Restarts"] == "1", timeout=90)
    revive()
    until(lambda: cut.facts()["Restarts"] == "1" and len(cut.pids()) == 3, timeout=90)
    assert zombie in cut.cluster.ranks(cut.job), "the old rank writes beside the new ones"
    plug_in()
    until(lambda: zombie not in cut.cluster.ranks(cut.job) and cut.started(1), timeout=120)
    until(lambda: failing.started(1))
    assert "attempt 0 rank 0 TERM" not in failing.told()

    until(lambda: timing_out.started(1), timeout=90)
    assert {"attempt 0 rank 0 USR2", "attempt 0 rank 1 USR2"} <= set(timing_out.told())
    restore_limit()
    assert timing_out.facts()["TimeLimit"] == "02:00:00"


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [(faults.fill_disk, errno.ENOSPC), (faults.make_read_only, errno.EROFS), (faults.vanish, errno.EROFS)],
)
def test_a_store_that_fails_the_nodes_and_comes_back(slurm: SlurmCluster, fault: Fault, complaint: int) -> None:
    file = slurm.shared / "file"
    file.write_text("here\n")
    append = [
        "srun",
        "--nodes=4",
        "--kill-on-bad-exit=0",
        "--chdir=/",
        "sh",
        "-c",
        f"head -c 99999 /dev/zero | tee -a {file} >/dev/null",
    ]
    heal = fault(Victim(slurm, ""))
    broken = slurm.run(append)
    untouched = file.read_text()
    heal()
    assert os.strerror(complaint) in broken.stderr
    assert len(untouched) <= 4096
    healed = slurm.run(append)
    assert (healed.returncode, healed.stderr) == (0, "")
    assert file.stat().st_size >= 4 * 99999
    file.unlink()


def test_only_the_newest_checkpoint_is_damaged(tmp_path: Path) -> None:
    for updates in (9, 10):
        (tmp_path / str(updates)).mkdir()
        (tmp_path / str(updates) / "tensors.safetensors").write_bytes(bytes(100))
    (tmp_path / ".11-4242").mkdir()
    faults.damage_checkpoint(tmp_path)
    assert (tmp_path / "10/tensors.safetensors").read_bytes() == bytes(50) + b"\1" + bytes(49)
    faults.truncate_checkpoint(tmp_path)
    assert (tmp_path / "10/tensors.safetensors").read_bytes() == bytes(50)
    assert (tmp_path / "9/tensors.safetensors").read_bytes() == bytes(100)


def test_one_clock_is_an_hour_fast(slurm: SlurmCluster, submit: Submit) -> None:
    ask = [sys.executable, "-c", "import os, time; print(os.uname().nodename, time.time(), time.time_ns() / 1e9)"]

    def errors() -> dict[str, list[int]]:
        lines = slurm.run(["srun", "--nodes=4", *ask]).stdout.splitlines()
        told = {node: times for node, *times in (line.split() for line in lines)}
        return {node: [round((float(t) - time.time()) / 3600) for t in times] for node, times in sorted(told.items())}

    job = submit("--nodelist=n2")
    until(lambda: job.started(0))
    heal = faults.wrong_clock(job, hours=-1)
    assert errors() == {"n1": [0, 0], "n2": [-1, -1], "n3": [0, 0], "n4": [0, 0]}
    heal()
    assert errors()["n2"] == [0, 0]


def until(happens: Callable[[], bool], timeout: float = 30) -> None:
    """Wait for it; patient, for other tests may keep this machine busy."""
    deadline = time.monotonic() + timeout
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
