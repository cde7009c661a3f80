"""What is handed to Slurm, read off the batch files that a stand-in for sbatch was given."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from harness.benchmark import find_suite
from harness.errors import UserError
from harness.executors import slurm
from harness.placement import Placement
from harness.plan import Step, make_plan
from harness.store import Store

SBATCH = """#!/bin/sh
n=$(($(cat {folder}/count 2>/dev/null || echo 100) + 1)); echo $n >{folder}/count
cp "$1" {folder}/$n.sh; echo "Submitted batch job $n"
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with Slurm's commands: sbatch keeps the batch files here, squeue and sinfo repeat files."""
    folder = tmp_path / "site"
    folder.mkdir()
    programs = {"sbatch": SBATCH, "srun": "#!/bin/sh\n"}
    programs |= {name: "#!/bin/sh\ncat {folder}/" + name + ".txt 2>/dev/null || true\n" for name in ("squeue", "sinfo")}
    for name, text in programs.items():
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def placement(tmp_path: Path) -> Placement:
    return Placement(
        store=tmp_path / "store", results=tmp_path, data=tmp_path / "photos", nodes=4, gpus=8, account="lab"
    )


@pytest.fixture
def said() -> list[str]:
    """What the user was told."""
    return []


def plan(placement: Placement) -> list[Step]:
    entries = find_suite("imagenet", "full")[1].entries
    return make_plan(((e.name, e.evaluate) for e in entries), Store(placement.store))


def scripts(site: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in site.glob("*.sh")}


def test_one_job_a_stage_with_its_inputs_as_dependencies(site: Path, placement: Placement, said: list[str]) -> None:
    (site / "sinfo.txt").write_text("gpu:h100:8\n")
    steps = plan(placement)
    jobs = slurm.submit(steps, placement, ["harness", "leaderboard"], "imagenet-full", announce=said.append)
    texts = scripts(site)
    assert len(texts) == len(steps) + 1
    for step in steps:
        text = texts[jobs[step.stage.key]]
        assert f"-m harness.run {step.stage.key} " in text
        assert f"--data {placement.data}" in text
        for child in step.stage.inputs():
            assert jobs[child.key] in text.split("--dependency=afterok:")[1].splitlines()[0].split(":")
        assert "#SBATCH --kill-on-invalid-dep=yes" in text
        assert "#SBATCH --account=lab" in text
        wide = step.stage.ranks == "all"
        assert ("#SBATCH --nodes=4" in text, "#SBATCH --ntasks-per-node=8" in text) == (wide, wide)
        assert ("#SBATCH --gpus-per-node=8" in text, "--need-gpu" in text) == (wide, wide)
    (table,) = [text for text in texts.values() if "harness leaderboard" in text]
    ends = [jobs[s.stage.key] for s in steps if s.stage.name == "evaluate"]
    assert f"--dependency=afterany:{':'.join(ends)}" in table


def test_a_cluster_without_gpus_is_asked_for_none(site: Path, placement: Placement, said: list[str]) -> None:
    (site / "sinfo.txt").write_text("(null)\n")
    slurm.submit(plan(placement), placement, ["true"], "imagenet-full", announce=said.append)
    assert not any("--gpus" in text or "--need-gpu" in text for text in scripts(site).values())
    assert said[0] == "this cluster declares no GPUs: every rank runs on a CPU"


def test_what_waits_already_is_left_alone_and_depended_on(site: Path, placement: Placement, said: list[str]) -> None:
    steps = plan(placement)
    names = [slurm.job_name(step.stage.name, step.stage.key, placement) for step in steps[:2]]
    (site / "squeue.txt").write_text(f"77|{names[0]}\n78|{names[1]}\n79|other\n")
    jobs = slurm.submit(steps, placement, ["true"], "imagenet-full", announce=said.append)
    assert (jobs[steps[0].stage.key], jobs[steps[1].stage.key]) == ("77", "78")
    assert len(scripts(site)) == len(steps) + 1 - 2
    assert "afterok:78:77" in scripts(site)[jobs[steps[2].stage.key]]


def test_another_store_has_jobs_of_its_own(site: Path, placement: Placement, said: list[str]) -> None:
    steps = plan(placement)
    other = replace(placement, store=placement.store / "other")
    (site / "squeue.txt").write_text(f"77|{slurm.job_name('prepare', steps[0].stage.key, other)}\n")
    assert slurm.submit(steps, placement, ["true"], "imagenet-full", announce=said.append)[steps[0].stage.key] != "77"


def test_the_site_gets_its_options_and_lines(site: Path, placement: Placement, said: list[str]) -> None:
    placement = replace(placement, sbatch=("mem=64G", "--wckey=ours"), setup=("module load cuda",))
    slurm.submit(plan(placement), placement, ["true"], "imagenet-full", announce=said.append)
    for text in scripts(site).values():
        assert "#SBATCH --mem=64G" in text and "#SBATCH --wckey=ours" in text
        assert text.index("module load cuda") < text.index("\nsrun ")
    with pytest.raises(UserError, match="KEY=VALUE is expected"):
        slurm.submit(plan(placement), replace(placement, sbatch=("mem",)), ["true"], "x", announce=said.append)


def test_what_leaks_in_from_the_shell_reaches_no_job(
    site: Path, placement: Placement, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "3")
    slurm.submit(plan(placement), placement, ["true"], "imagenet-full", announce=said.append)
    assert "SLURM_NTASKS" not in os.environ
    assert all("unset RANK" in text for text in scripts(site).values())


def test_nothing_is_pickled(site: Path, placement: Placement, said: list[str]) -> None:
    slurm.submit(plan(placement), placement, ["true"], "imagenet-full", announce=said.append)
    assert not list(placement.store.rglob("*.pkl"))


def test_a_refusal_is_passed_on_in_one_line(site: Path, placement: Placement, said: list[str]) -> None:
    (site / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid account' >&2; exit 1\n")
    with pytest.raises(UserError, match=r"sbatch refused the job: .*invalid account") as refusal:
        slurm.submit(plan(placement), placement, ["true"], "imagenet-full", announce=said.append)
    assert "\n" not in str(refusal.value)


def test_a_queue_that_does_not_answer_is_said(site: Path, placement: Placement, said: list[str]) -> None:
    (site / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2; exit 1\n")
    with pytest.raises(UserError, match="squeue failed: slurm_load_jobs error: Unable to contact"):
        slurm.submit(plan(placement), placement, ["true"], "imagenet-full", announce=said.append)
