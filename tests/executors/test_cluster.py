"""Launches into a queue, from the outside: every missing stage gets one job, whatever happened before."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.executors import slurm
from harness.executors.cluster import Request, preview, submit
from harness.executors.slurm import Site
from harness.journal import Journal
from harness.launches import Launch, Planned, new_id, read_launches
from harness.lease import hold
from harness.placement import Placement, to_record
from harness.plan import Step
from harness.profile import Profile
from harness.store import Store
from tests.executors.stand_in import StandIn
from tests.executors.toy import Evaluate, Prepare, Toy, Train, plan

DATA = Prepare("data")
SEEDS = tuple(Train(f"seed {n}", DATA) for n in range(3))
STUDENTS = tuple(Train(f"student {n}", seed, DATA) for n, seed in enumerate(SEEDS))
TOP1 = tuple(Evaluate(f"top1 {n}", student, DATA) for n, student in enumerate(STUDENTS))
PLAN = (DATA, *SEEDS, *STUDENTS, *TOP1)


@dataclass
class Command:
    """What somebody types again and again, and what is said to it."""

    root: Path
    placement: Placement
    said: list[str] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.placement.store)

    def __call__(self, *, done: Sequence[Toy] = (), follows: str | None = None, **shape: int) -> bool:
        """Launch the plan; `done` are its finished stages."""
        return submit(self.request(plan(*PLAN, done=done), follows, **shape), self.said.append)

    def request(self, steps: Sequence[Step], follows: str | None = None, **shape: int) -> Request:
        placement = replace(self.placement, **shape)  # type: ignore[arg-type]
        launch = new_id()
        record = Launch(
            id=launch, origin=follows or launch, time=float(len(self.launches)), user="ana", benchmark="toy",
            suite="full", seeds=1, executor="slurm", placement=to_record(placement),
            stages={} if follows else {step.stage.key: planned(step) for step in steps},
        )  # fmt: skip
        return Request(record, steps, placement, self.root)

    @property
    def launches(self) -> list[Launch]:
        """The newest first."""
        return read_launches(self.store)

    def tell(self, at: Toy, event: str, **facts: object) -> None:
        Journal(self.store.journal_path(at.key)).write(event, **facts)

    def fail(self, stage: Toy, launch: str, times: int, reason: str = "no space") -> None:
        for _ in range(times):
            self.tell(stage, "start", stage="train", ranks=2, launch=launch)
            self.tell(stage, "failed", kind="StageError", rank=0, reason=reason)


def planned(step: Step) -> Planned:
    inputs = tuple(child.key for child in step.stage.inputs())
    return Planned(stage=step.stage.name, label=step.label, ranks=step.stage.ranks, inputs=inputs)


@pytest.fixture
def launch(site: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Launches the plan from a project of one file, on two nodes; ids are in the order of the plan."""
    monkeypatch.setattr(slurm, "AT_ONCE", 1)
    (tmp_path / "project" / "harness").mkdir(parents=True)
    (tmp_path / "project" / "harness" / "run.py").write_text("")
    return Command(tmp_path / "project", Placement(store=tmp_path / "store", results=tmp_path, nodes=2))


def handed_over(site: StandIn, after: int = 0) -> list[str]:
    """Labels of the stages that accepted jobs run, those up to an id left out; twice, if in two jobs."""
    texts = [text for job, text in site.texts().items() if int(job) > after]
    return sorted(stage.label for text in texts for stage in PLAN if stage.key in text)


def each_stage_once(site: StandIn) -> bool:
    return handed_over(site) == sorted(stage.label for stage in PLAN)


def test_everything_is_handed_over_and_each_job_announced(site: StandIn, launch: Command) -> None:
    assert launch()
    assert each_stage_once(site)
    (record,) = launch.launches
    assert launch.said == [
        "job 101: prepare (data)",
        "job 102: 3 times train, from train (seed 0) on",
        *(f"job {103 + n}: train (student {n}) and 1 more" for n in range(3)),
        f"job 106: the table, in {launch.placement.results}",
    ]  # fmt: skip
    code = launch.placement.store / "code"
    assert all(f"--chdir={next(code.iterdir())}" in text for text in site.texts().values())
    assert set(record.stages) == {stage.key for stage in PLAN}


def test_what_is_done_gets_no_job(site: StandIn, launch: Command) -> None:
    assert launch(done=[DATA, *SEEDS])
    assert handed_over(site) == sorted(stage.label for stage in (*STUDENTS, *TOP1))


@pytest.mark.parametrize("user", ["ana", "bo"])
def test_while_all_is_in_the_queue_nothing_is_submitted(site: StandIn, launch: Command, user: str) -> None:
    """Also if somebody else has submitted it."""
    launch()
    site.give_to(user)
    before, launch.said[:] = site.calls("sbatch"), []
    assert launch()
    assert site.calls("sbatch") == before
    assert len(launch.launches) == 1
    assert launch.said[:2] == ["job 101 is in the queue: prepare (data)", "job 102_0 is in the queue: train (seed 0)"]


def test_with_all_done_there_is_nothing_to_wait_for(site: StandIn, launch: Command) -> None:
    assert not launch(done=PLAN)
    assert site.calls("sbatch") == []
    assert launch.launches == []


def test_what_is_missing_beside_the_queue_waits_for_it(site: StandIn, launch: Command) -> None:
    launch()
    site.start("101")
    site.end("104", "106")  # somebody cancelled a student, and the table
    launch()
    (student, table) = list(site.texts().values())[6:]
    assert STUDENTS[1].key in student and "afterok:101:102_1\n" in student
    assert "afterany:" in table and "101" in table and "107" in table


def test_a_table_that_nobody_waits_for_any_more_is_asked_for_again(site: StandIn, launch: Command) -> None:
    launch()
    site.end("106")
    launch()
    assert [job for job in site.queue() if job.isdecimal()] == ["101", "103", "104", "105", "107"]
    assert each_stage_once(site)


def test_two_who_launch_at_once_submit_each_stage_once(
    site: StandIn, launch: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "AT_ONCE", 8)
    monkeypatch.setattr("harness.lease.BEAT_S", 0.1)
    others = [threading.Thread(target=launch) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    assert each_stage_once(site)
    assert len(launch.launches) == 1
    assert sum(line.startswith("job 101 is in the queue") for line in launch.said) == 2


def test_the_record_is_written_before_the_first_job_and_names_all(site: StandIn, launch: Command) -> None:
    copy = f"cp -r {launch.store.root}/launches {site.folder}"
    site.replace("sbatch", f'#!/bin/sh\n[ "$1" = --test-only ] || {{ {copy}; exit 1; }}\n')
    with pytest.raises(UserError, match="sbatch refused"):
        launch()
    assert len(list((site.folder / "launches").glob("*.json"))) == 1
    (record,) = launch.launches
    named = [key for job in record.jobs for task in job.tasks for key in task]
    assert sorted(named) == sorted(stage.key for stage in PLAN)
    assert [(job.array, len(job.tasks)) for job in record.jobs] == [
        (False, 1), (True, 3), (False, 1), (False, 1), (False, 1), (False, 0),
    ]  # fmt: skip


def test_after_a_submission_that_broke_off_nothing_is_submitted_twice(site: StandIn, launch: Command) -> None:
    (site.folder / "fails_for").write_text(r"train-.*\.[234]$")
    with pytest.raises(UserError, match=r"sbatch refused the job: .*Socket timed out"):
        launch()
    assert site.queue() == ["101", "102_0", "102_1", "102_2", "103"], "and the last job, which goes on from there"
    (site.folder / "fails_for").unlink()
    launch()
    assert each_stage_once(site)
    assert "job 102_2 is in the queue: train (seed 2)" in launch.said


def test_a_launch_on_other_nodes_replaces_what_waits_and_leaves_what_runs(site: StandIn, launch: Command) -> None:
    launch()
    site.end("101")
    site.start("102_0")
    assert launch(done=[DATA], nodes=4)
    assert "102_0" in site.queue()
    assert not {"102_1", "102_2", "103", "104", "105"} & set(site.queue())
    assert handed_over(site, after=106) == sorted(stage.label for stage in (*SEEDS[1:], *STUDENTS, *TOP1))
    assert all("#SBATCH --nodes=4\n" in text for job, text in site.texts().items() if 106 < int(job) < 110)
    assert "5 waiting jobs can never start, or have another shape: cancelled" in launch.said


def test_what_waits_is_given_back_only_once_slurm_would_take_the_new_shape(site: StandIn, launch: Command) -> None:
    launch()
    waiting = site.queue()
    forget(site)
    with pytest.raises(UserError, match="Slurm would refuse the jobs"):
        launch(nodes=4)
    assert site.calls("scancel") == []
    assert site.queue() == waiting


@pytest.mark.parametrize("why", ["DependencyNeverSatisfied", "launch failed requeued held"])
def test_jobs_that_can_never_start_are_replaced(site: StandIn, launch: Command, why: str) -> None:
    """Where Slurm does not cancel them itself, or holds a job that a broken node could not start."""
    launch()
    site.end("101")
    site.reason(why, "102_1", "104")
    launch(done=[DATA])
    assert not {"102_1", "104"} & set(site.queue())
    assert handed_over(site, after=106) == ["seed 1", "student 1", "top1 1"]
    assert "2 waiting jobs can never start, or have another shape: cancelled" in launch.said


def test_the_stuck_jobs_of_somebody_else_are_left_alone(site: StandIn, launch: Command) -> None:
    launch()
    site.reason("DependencyNeverSatisfied", "103")
    site.give_to("bo")
    launch()
    assert site.calls("scancel") == []
    assert each_stage_once(site)


def test_the_waiting_jobs_of_somebody_else_are_not_replaced(site: StandIn, launch: Command) -> None:
    launch()
    site.give_to("bo")
    launch(nodes=4)
    assert site.calls("scancel") == []
    assert each_stage_once(site)


def test_a_queue_with_little_room_gets_a_part_and_the_table_goes_on_from_there(site: StandIn, launch: Command) -> None:
    launch.placement = replace(launch.placement, site=Profile(max_submit=4))
    launch()
    assert handed_over(site) == ["data", "seed 0", "seed 1"]
    assert len(site.queue()) == 4
    site.end(*site.queue())
    (first,) = launch.launches
    launch(done=[DATA, *SEEDS[:2]], follows=first.id)
    assert len(site.queue()) == 3, "the last job that submits them is in the queue, too"
    assert "seed 2" in handed_over(site, after=103)


def test_into_a_full_queue_only_the_table_goes_and_waits_for_the_others_of_this_user(
    site: StandIn, launch: Command
) -> None:
    launch()
    launch.placement = replace(launch.placement, site=Profile(max_submit=3))
    site.end("103")
    launch()
    (table,) = list(site.texts().values())[6:]
    assert "-m harness.cli follow" in table
    assert "afterany:101:102_0:102_1:102_2:104:105\n" in table


def test_an_empty_queue_takes_at_least_one_job(site: StandIn, launch: Command) -> None:
    """Or last jobs would follow each other for ever."""
    launch.placement = replace(launch.placement, site=Profile(max_submit=1))
    launch()
    assert handed_over(site) == ["data"]


def test_the_last_job_is_no_follower_of_itself(site: StandIn, launch: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs while it looks: what is still in the queue must be waited for by another one."""
    launch()
    (first,) = launch.launches
    site.end("101", "102_0", "102_1", "102_2", "103", "104")
    site.start("106")
    monkeypatch.setenv("HARNESS_MASTER", "n1")
    monkeypatch.setenv("SLURM_JOB_ID", "106")
    assert launch(done=[DATA, *SEEDS, *STUDENTS[:2], *TOP1[:2]], follows=first.id)
    (table,) = list(site.texts().values())[6:]
    assert f"follow {first.id} " in table and "afterany:105\n" in table


def test_the_last_job_of_a_launch_submits_again_what_ended_badly(site: StandIn, launch: Command) -> None:
    launch()
    (first,) = launch.launches
    site.end(*site.queue())
    launch.fail(SEEDS[1], first.id, times=2)
    launch(done=[DATA, SEEDS[0], SEEDS[2]], follows=first.id)
    assert handed_over(site, after=106) == sorted(stage.label for stage in (SEEDS[1], *STUDENTS, *TOP1))
    assert all(f"--launch {first.id} " in text for text in site.texts().values() if "harness.run" in text)


def test_but_not_what_failed_too_often_nor_what_needs_it(site: StandIn, launch: Command) -> None:
    launch()
    (first,) = launch.launches
    site.end(*site.queue())
    launch.fail(SEEDS[1], first.id, times=3)
    launch(done=[DATA, SEEDS[0], SEEDS[2]], follows=first.id)
    assert handed_over(site, after=106) == ["student 0", "student 2", "top1 0", "top1 2"]
    assert [line for line in launch.said if "given up" in line] == ["given up: train (seed 1): no space"]


def test_nor_what_died_without_a_word(site: StandIn, launch: Command) -> None:
    launch()
    (first,) = launch.launches
    site.end(*site.queue())
    for _ in range(3):
        launch.tell(STUDENTS[1], "start", stage="train", ranks=2, launch=first.id)
    rest = [stage for stage in PLAN if stage not in (STUDENTS[1], TOP1[1])]
    assert not launch(done=rest, follows=first.id), "the table is all that is left"
    assert launch.said[-1] == ("given up: train (student 1): 3 attempts ended without a word: see the logs of the job")


def test_nor_what_a_person_cancelled(site: StandIn, launch: Command) -> None:
    launch()
    (first,) = launch.launches
    site.end(*site.queue())
    launch.tell(STUDENTS[1], "start", stage="train", ranks=2, launch=first.id)
    launch.tell(STUDENTS[1], "cancelled", user="bo")
    rest = [stage for stage in PLAN if stage not in (STUDENTS[1], TOP1[1])]
    assert not launch(done=rest, follows=first.id)
    assert launch.said[-1] == "given up: train (student 1): cancelled by bo"


def test_whoever_types_the_launch_again_starts_anew(site: StandIn, launch: Command) -> None:
    launch()
    (first,) = launch.launches
    site.end(*site.queue())
    launch.fail(DATA, first.id, times=3)
    launch()
    assert handed_over(site) == sorted(2 * [stage.label for stage in PLAN])


def forget(site: StandIn) -> None:
    """Slurm refuses every job."""
    (site.folder / "refusal").write_text("allocation failure: Requested node configuration is not available\n")


@pytest.mark.parametrize(
    ("spoil", "profile", "words"),
    [
        (lambda site: None, Profile(partition="gpus"), "this cluster has no partition 'gpus'"),
        (forget, Profile(), "Slurm would refuse the jobs: allocation failure: Requested node configuration"),
        (lambda site: site.replace("squeue", "#!/bin/sh\nexit 1\n"), Profile(), "squeue failed: exit code 1"),
    ],
    ids=["partition", "nodes", "queue"],
)
def test_what_is_wrong_is_said_before_anything_is_submitted(
    site: StandIn, launch: Command, spoil: Callable[[StandIn], None], profile: Profile, words: str
) -> None:
    spoil(site)
    launch.placement = replace(launch.placement, site=profile)
    with pytest.raises(UserError, match=words):
        launch()
    assert set(site.calls("sbatch")) <= {"--test-only"}
    assert launch.launches == []


def test_a_launch_that_waits_too_long_for_another_says_for_whom(
    site: StandIn, launch: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.lease.BEAT_S", 0.05)
    monkeypatch.setattr("harness.store.LAUNCH_WAIT_S", 0.1)
    with (
        hold(launch.store.root / "leases" / "launch", "the launch of jobs"),
        pytest.raises(UserError, match=r"^the launch of jobs is held by process \d+ on .* of ana since"),
    ):
        launch()
    assert site.calls("sbatch") == []


def test_a_shell_inside_a_job_passes_nothing_of_it_on(
    site: StandIn, launch: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_NTASKS", "SBATCH_PARTITION"):
        monkeypatch.setenv(name, "3")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    launch()
    names = {line.partition("=")[0] for line in (site.folder / "environment").read_text().splitlines()}
    assert "SLURM_CONF" in names
    assert not {"SLURM_NTASKS", "SBATCH_PARTITION"} & names


def test_a_preview_asks_nobody_and_shows_every_job(site: StandIn, launch: Command) -> None:
    texts = preview(launch.request(plan(*PLAN, done=[DATA])), Site(gpus=True, largest_array=10))
    assert len(texts) == 1 + 3 + 1
    assert "afterok:<harness-train-" in texts[1]
    assert site.calls("sbatch") == []
    assert not launch.store.root.exists()
    assert preview(launch.request(plan(*PLAN, done=PLAN)), Site(gpus=True, largest_array=10)) == []
