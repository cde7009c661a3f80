"""What is handed to Slurm, read off the batch files, and what a job does with the end of its ranks."""

import os
import shlex
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.executors.jobs import batches, pack
from harness.executors.slurm import Site, Submission
from harness.placement import Placement
from harness.profile import Profile
from tests.executors.stand_in import StandIn
from tests.executors.toy import Derive, Evaluate, Prepare, Score, Toy, Train, plan

GPUS = Site(gpus=True, largest_array=10)
DATA = Prepare("data")
SEEDS = tuple(Train(f"seed {n}", DATA) for n in range(3))
TOP1 = tuple(Evaluate(f"top1 of {seed.label}", seed, DATA) for seed in SEEDS)
STUDENTS = tuple(Train(f"student of {seed.label}", seed, DATA) for seed in SEEDS)


@pytest.fixture
def placement(tmp_path: Path) -> Placement:
    return Placement(store=tmp_path / "store", results=tmp_path, data=tmp_path / "photos", nodes=4, gpus=8, workers=6)


def submission(
    placement: Placement, *stages: Toy, site: Site = GPUS, queued: dict[str, str] | None = None
) -> Submission:
    return Submission(
        launch="0a1b2c3d",
        origin="ffff0000",
        placement=placement,
        site=site,
        code=placement.store / "code" / "c0de",
        batches=batches(pack(plan(*stages), queued or {}), site.largest_array),
        queued=frozenset((queued or {}).values()),
    )


def submitted(site: StandIn, made: Submission) -> list[str]:
    """The accepted batch files, in the order of their ids."""
    made.submit(lambda batch, job: None)
    return list(site.texts().values())


def options(text: str) -> dict[str, str]:
    """What sbatch reads in a batch file; nothing for an option without a value."""
    lines = (line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH --"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def ready(made: Submission) -> None:
    """What a batch file finds when it starts: the code and the folder of logs."""
    made.code.mkdir(parents=True)
    (made.placement.store / "logs" / "slurm").mkdir(parents=True)


def test_each_job_waits_for_what_it_reads_and_the_table_for_all_ends(site: StandIn, placement: Placement) -> None:
    data, seeds, students, table = submitted(site, submission(placement, DATA, *SEEDS, *TOP1, STUDENTS[1]))
    assert "dependency" not in options(data)
    assert options(seeds)["dependency"] == "afterok:101"
    assert options(students)["dependency"] == "afterok:101:102_1", "one task of the array, not all"
    assert options(table)["dependency"] == "afterany:102:103"
    for text in (data, seeds, students, table):
        assert options(text)["kill-on-invalid-dep"] == "yes", "or a job whose input failed waits for ever"


def test_what_earlier_launches_have_queued_is_waited_for(site: StandIn, placement: Placement) -> None:
    queued = {DATA.key: "70", SEEDS[0].key: "71_4"}
    (student, table) = submitted(site, submission(placement, STUDENTS[0], queued=queued))
    assert options(student)["dependency"] == "afterok:70:71_4"
    assert options(table)["dependency"] == "afterany:70:71_4:101"


def test_bash_finds_the_stages_of_each_task_of_an_array(placement: Placement) -> None:
    made = submission(placement, *SEEDS, *TOP1)
    text = made.text(0)
    assert options(text)["array"] == "0-2%3"
    (keys,) = (part for part in text.split("keys=(")[1:])
    script = f"keys=({keys.partition(')')[0]})\nprintf '%s\\n' ${{keys[$SLURM_ARRAY_TASK_ID]}}"
    for task, (seed, top1) in enumerate(zip(SEEDS, TOP1, strict=True)):
        done = subprocess.run(
            ["bash", "-c", script], env={"SLURM_ARRAY_TASK_ID": str(task)}, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [seed.key, top1.key]
    assert [job.tasks for job in made.jobs] == [tuple(zip(map(key, SEEDS), map(key, TOP1), strict=True)), ()]


def key(stage: Toy) -> str:
    return stage.key


def test_so_many_tasks_of_an_array_run_at_a_time(placement: Placement) -> None:
    few = replace(placement, site=Profile(max_jobs=2))
    assert options(submission(few, *SEEDS).text(0))["array"] == "0-2%2"


@pytest.mark.parametrize(
    ("stage", "shape", "gpus"),
    [(SEEDS[0], ("4", "8"), "8"), (Score("ticket"), ("1", "1"), "1"), (DATA, ("1", "1"), None)],
    ids=["all ranks", "one rank", "no GPU"],
)
def test_a_job_has_the_machines_that_its_stages_can_use(
    placement: Placement, stage: Toy, shape: tuple[str, str], gpus: str | None
) -> None:
    text = submission(placement, stage).text(0)
    found = options(text)
    assert (found["nodes"], found["ntasks-per-node"], found["cpus-per-task"]) == (*shape, "7")
    assert found.get("gpus-per-node") == gpus
    assert ("--need-gpu" in text) == (gpus is not None)
    assert "gpus-per-node" not in options(submission(placement, stage).text(1)), "a table needs none"


def test_a_cluster_that_declares_no_gpus_is_asked_for_none(placement: Placement) -> None:
    made = submission(placement, DATA, *SEEDS, site=Site(gpus=False, largest_array=10))
    for number in range(3):
        assert "gpu" not in made.text(number)


def test_gpus_may_be_asked_for_as_a_site_likes_it_by_jobs_that_compute(placement: Placement) -> None:
    made = submission(replace(placement, site=Profile(gres="gpu:a100:8")), DATA, SEEDS[0])
    data, seed, table = (options(made.text(number)) for number in range(3))
    assert seed["gres"] == "gpu:a100:8" and "gpus-per-node" not in seed
    assert "gres" not in data and "gres" not in table


def test_the_site_gets_its_options_and_lines(placement: Placement) -> None:
    profile = Profile(
        partition="gpu", account="lab", qos="long", constraint="h100", reservation="days", mem="64G", minutes=90,
        signal_seconds=300, setup=("module load cuda",), srun=("--mpi=none",), python="/opt/my python",
        sbatch={"exclude": "n[1-2]", "exclusive": True},
    )  # fmt: skip
    made = submission(replace(placement, site=profile), DATA, SEEDS[0])
    for number in range(3):
        text = made.text(number)
        found = options(text)
        for name in ("partition", "account", "qos", "constraint", "reservation", "mem"):
            assert found[name] == getattr(profile, name)
        assert (found["exclude"], found["exclusive"]) == ("'n[1-2]'", "")
        assert found["signal"] == ("USR2@0" if number == 2 else "USR2@300")
        assert text.index("module load cuda") < text.index("\nsrun ")
        (command,) = (shlex.split(line) for line in text.splitlines() if line.startswith("srun "))
        assert command.index("--mpi=none") < command.index("/opt/my python")
        assert found["time"] == ("60" if number == 2 else "90")


def test_a_job_runs_the_code_it_was_submitted_with_and_can_go_back_into_the_queue(placement: Placement) -> None:
    text = submission(placement, *SEEDS).text(0)
    assert options(text)["chdir"] == str(placement.store / "code" / "c0de")
    assert "requeue" in options(text)
    command = next(line for line in text.splitlines() if line.startswith("srun "))
    for words in (f"--chdir={placement.store}/code/c0de", f"--code {placement.store}/code/c0de",
                  "--kill-on-bad-exit=1", f"--data {placement.data}", "--launch ffff0000 --tries 3"):  # fmt: skip
        assert words in command


def test_two_launches_have_no_name_of_a_job_in_common(placement: Placement) -> None:
    made = submission(placement, DATA, *SEEDS)
    names = {job.name for one in (made, replace(made, launch="ffff1111")) for job in one.jobs}
    assert len(names) == 6
    assert options(made.text(1))["job-name"] == made.jobs[1].name == "harness-train-0a1b2c3d.1"


@pytest.mark.parametrize(
    ("srun", "code", "requeued"),
    [
        ("exit 0", 0, False),
        ("exit 70", 70, False),
        ("exit 1", 0, True),
        ("exit 2", 0, True),
        ("exit 75", 0, True),
        ("exit 137", 0, True),
        ("kill -9 $$", 0, True),
        ("kill -TERM $PPID; exit 75", -signal.SIGTERM, False),
        ("kill -TERM $PPID; exit 143", -signal.SIGTERM, False),
    ],
)
def test_a_job_goes_back_into_the_queue_if_another_try_may_help(
    site: StandIn, placement: Placement, srun: str, code: int, requeued: bool
) -> None:
    """A job that Slurm takes, cancelled or preempted, is left to Slurm."""
    site.replace("srun", f"#!/bin/sh\n{srun}\n")
    made = submission(placement, Derive("student"))
    ready(made)
    environment = os.environ | {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "n[1-4]"}
    done = subprocess.run(["bash"], input=made.text(0), env=environment, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert (site.folder / "requeued").exists() == requeued
    if requeued:
        assert (site.folder / "requeued").read_text() == "4711\n"


@pytest.mark.parametrize(
    ("code", "restarts", "requeued"),
    [(1, 4, True), (1, 5, False), (2, 5, False), (75, 99, True), (137, 99, True)],
)
def test_a_code_of_python_itself_brings_a_job_back_five_times_and_no_more(
    site: StandIn, placement: Placement, code: int, restarts: int, requeued: bool
) -> None:
    """A node without the code answers with 1, and so does a defect: the harness counts what its own codes mean."""
    site.replace("srun", f"#!/bin/sh\nexit {code}\n")
    made = submission(placement, Derive("student"))
    ready(made)
    job = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "n1", "SLURM_RESTART_COUNT": str(restarts)}
    done = subprocess.run(["bash"], input=made.text(0), env=os.environ | job, text=True, timeout=60, check=False)
    assert (done.returncode, (site.folder / "requeued").exists()) == (0 if requeued else code, requeued)


def test_a_task_of_an_array_goes_back_alone(site: StandIn, placement: Placement) -> None:
    """The id of one of them is that of the whole array."""
    site.replace("srun", "#!/bin/sh\nexit 75\n")
    made = submission(placement, *SEEDS)
    ready(made)
    job = {"SLURM_JOB_ID": "4700", "SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_NODELIST": "n1"}
    subprocess.run(["bash"], input=made.text(0), env=os.environ | job, text=True, timeout=60, check=True)
    assert (site.folder / "requeued").read_text() == "4700_2\n"


def test_a_job_that_cannot_go_back_has_not_done_well(site: StandIn, placement: Placement) -> None:
    """What waits for it must not start."""
    site.replace("srun", "#!/bin/sh\nexit 75\n")
    site.replace("scontrol", "#!/bin/sh\nexit 1\n")
    site.replace("sleep", "#!/bin/sh\n")
    made = submission(placement, Derive("student"))
    ready(made)
    environment = os.environ | {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "n1"}
    done = subprocess.run(["bash"], input=made.text(0), env=environment, text=True, timeout=60, check=False)
    assert done.returncode == 75


def test_ranks_are_told_where_to_meet_and_nothing_of_the_shell_around(
    site: StandIn, placement: Placement, tmp_path: Path
) -> None:
    site.replace("srun", f'#!/bin/sh\npwd >{tmp_path}/seen; env >>{tmp_path}/seen; echo "$@" >>{tmp_path}/seen\n')
    made = submission(placement, *SEEDS)
    ready(made)
    leaks = {"RANK": "3", "WORLD_SIZE": "9", "MASTER_ADDR": "elsewhere", "PYTHONSAFEPATH": "1"}
    job = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "n[1-4]", "SLURM_ARRAY_TASK_ID": "2"}
    subprocess.run(["bash"], input=made.text(0), env=os.environ | leaks | job, text=True, timeout=60, check=True)
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen[0] == str(made.code)
    assert "HARNESS_MASTER=n1" in seen and "OMP_NUM_THREADS=7" in seen
    assert not leaks.keys() & {line.partition("=")[0] for line in seen}
    assert f"-m harness.run {SEEDS[2].key} --store" in seen[-1]


def test_no_secret_of_the_shell_gets_into_a_file(
    site: StandIn, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "canary-in-the-mine")
    texts = submitted(site, submission(placement, DATA, *SEEDS))
    assert len(texts) == 3
    assert not any("canary-in-the-mine" in text for text in texts)
    files = [path for path in placement.store.rglob("*") if path.is_file()]
    assert not any(b"canary-in-the-mine" in path.read_bytes() for path in files)
    assert not [path for path in files if path.suffix == ".pkl"]


def test_the_last_job_knows_the_launch_and_the_store_and_no_more(placement: Placement) -> None:
    text = submission(placement, DATA).text(1)
    found = options(text)
    assert f"-m harness.cli follow ffff0000 --store {placement.store}\n" in text
    assert (found["nodes"], found["ntasks-per-node"]) == ("1", "1")
    assert found["signal"] == "USR2@0", "there is nothing to save"


def test_no_job_has_a_wckey_unless_the_site_wants_one(placement: Placement) -> None:
    """Submitit's own is refused where only known ones are taken."""
    wanted = replace(placement, site=Profile(sbatch={"wckey": "ours"}))
    for number in range(2):
        assert "wckey" not in options(submission(placement, DATA).text(number))
        assert options(submission(wanted, DATA).text(number))["wckey"] == "ours"


def test_a_submission_that_breaks_off_still_gets_its_last_job(site: StandIn, placement: Placement) -> None:
    """It waits for what was taken, and submits the rest."""
    (site.folder / "fails_for").write_text("train")
    with pytest.raises(UserError, match=r"^sbatch refused the job: .*Socket timed out"):
        submitted(site, submission(placement, DATA, *SEEDS))
    data, table = site.texts().values()
    assert DATA.key in data
    assert "-m harness.cli follow ffff0000" in table and options(table)["dependency"] == "afterany:101"


def test_where_nothing_was_taken_the_last_job_waits_for_what_others_run(site: StandIn, placement: Placement) -> None:
    (site.folder / "fails_for").write_text("train")
    with pytest.raises(UserError, match=r"Socket timed out"):
        submitted(site, submission(placement, *SEEDS, queued={DATA.key: "70"}))
    (table,) = site.texts().values()
    assert options(table)["dependency"] == "afterany:70"


def test_where_nobody_runs_anything_there_is_nothing_to_follow(site: StandIn, placement: Placement) -> None:
    (site.folder / "fails_for").write_text("prepare")
    with pytest.raises(UserError, match=r"Socket timed out"):
        submitted(site, submission(placement, DATA, *SEEDS))
    assert site.texts() == {}


def test_one_job_of_each_shape_is_shown_to_slurm_first(site: StandIn, placement: Placement) -> None:
    submission(placement, DATA, *SEEDS, *STUDENTS).check()
    assert site.calls("sbatch") == ["--test-only"] * 3, "one without a GPU, one with all, the last job"
    (site.folder / "refusal").write_text(
        "sbatch: error: Job rejected\nallocation failure: Requested node configuration is not available\n"
    )
    with pytest.raises(
        UserError, match=r"^Slurm would refuse the jobs: allocation failure: Requested node configuration is not"
    ):
        submission(placement, DATA).check()


def test_a_job_that_is_shown_waits_for_none_that_does_not_exist_yet(site: StandIn, placement: Placement) -> None:
    submission(placement, *SEEDS, *STUDENTS).check()
    assert "dependency" not in options((site.folder / "tried.sh").read_text())


def test_a_refusal_is_passed_on_in_one_line(site: StandIn, placement: Placement) -> None:
    site.replace("sbatch", "#!/bin/sh\necho 'sbatch: error: invalid account' >&2; exit 1\n")
    with pytest.raises(UserError, match=r"^sbatch refused the job: .*invalid account") as refusal:
        submitted(site, submission(placement, DATA))
    assert "\n" not in str(refusal.value)


def test_what_slurm_says_of_itself(site: StandIn) -> None:
    assert Site.ask(None) == Site.ask("gpu") == Site.ask("cpu,gpu") == GPUS
    assert not Site.ask("cpu").gpus
    with pytest.raises(UserError, match=r"^this cluster has no partition 'gpus': it has cpu, gpu$"):
        Site.ask("gpus")


def test_a_machine_that_belongs_to_no_cluster_is_told_apart(site: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    site.replace("sinfo", "#!/bin/sh\necho 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(UserError, match=r"^sinfo failed: slurm_load_partitions: Unable to contact"):
        Site.ask(None)
    (site.folder / "squeue").unlink()
    monkeypatch.setenv("PATH", str(site.folder))
    with pytest.raises(
        UserError, match=r"^no squeue on this machine: log in to the cluster, or choose --executor local"
    ):
        Site.ask(None)
