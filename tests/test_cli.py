"""Which executor and how many seeds a command gets, and which options it refuses."""

import os
import stat
from pathlib import Path

import pytest

from harness.choices import require_choices
from harness.cli import choose_executor, main, submit
from harness.data.augment import Augment
from harness.errors import UserError, exit_code
from harness.executors import slurm
from harness.models.resnet import ResNet
from harness.placement import Placement, visible_gpus
from harness.recipe import Recipe

AUGMENT = Augment(crop="none", size=32)


def commands(folder: Path, *, sinfo: int) -> str:
    """A PATH with Slurm's commands installed; sinfo ends with this code."""
    for name, code in {"sbatch": 0, "sinfo": sinfo}.items():
        (folder / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (folder / name).chmod(stat.S_IRWXU)
    return f"{folder}:{os.environ['PATH']}"


def test_auto_is_slurm_only_where_a_cluster_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", commands(tmp_path, sinfo=0))
    assert choose_executor("auto", dry_run=False, nodes=1) == "slurm"
    monkeypatch.setenv("PATH", commands(tmp_path, sinfo=1))
    assert choose_executor("auto", dry_run=False, nodes=4) == "local"
    assert choose_executor("slurm", dry_run=False, nodes=1) == "slurm"
    monkeypatch.setenv("PATH", "/nowhere")
    assert choose_executor("auto", dry_run=False, nodes=1) == "local"
    assert choose_executor("auto", dry_run=True, nodes=4) == "slurm"
    assert choose_executor("auto", dry_run=True, nodes=1) == "local"


def test_only_the_gpus_one_was_given_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert visible_gpus() == [3, 5]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        ("engine", "dpp", "did you mean 'ddp'"),
        ("precision", "bf17", "did you mean 'bf16'"),
        ("zero_stage", 3, "0, 1, 2"),
    ],
)
def test_a_misspelt_word_in_a_recipe_gets_no_key(field: str, value: object, hint: str) -> None:
    with pytest.raises(UserError, match=f"unknown {field} .* in Recipe.*{hint}"):
        Recipe(epochs=1, augment=AUGMENT, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{"epochs": 0}, {"batch_per_gpu": 0}, {"warmup_epochs": 2}])
def test_a_recipe_of_nothing_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(UserError, match="make no recipe"):
        Recipe(**{"epochs": 1, "augment": AUGMENT, **fields})  # type: ignore[arg-type]


def test_choices_of_other_specs() -> None:
    require_choices(AUGMENT)
    with pytest.raises(UserError, match="unknown crop 'resize' in Augment: did you mean 'resized'"):
        Augment(crop="resize", size=32)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown depth 51 in ResNet"):
        ResNet(depth=51, classes=2)  # type: ignore[arg-type]


def test_a_missing_package_is_bad_input_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise ModuleNotFoundError("No module named 'submitit'")

    assert exit_code(work) == 2
    assert "No module named 'submitit': run `make setup`" in capsys.readouterr().err


def test_a_launch_of_two_seeds_plans_both_and_tells_what_they_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def dry_run(*options: str) -> list[str]:
        assert main(["launch", "digits", "--dry-run", "--store", str(tmp_path), *options]) == 0
        return capsys.readouterr().out.splitlines()

    one, two = dry_run("--seeds", "1"), dry_run("--seeds", "2")
    assert "seed" not in " ".join(one)
    assert any(line.endswith("dense teacher, seed 1") for line in two)
    trained, alone = (int(word) for word in one[-1].replace(":", "").split() if word.isdigit())
    assert two[-1].startswith(f"{2 * trained} stages to train; every entry by itself would train {2 * alone}: ")
    assert set(one[1:-2]) <= {line.replace(", seed 0", "") for line in two}, "seed 0 is what it was"


def test_the_table_that_slurm_draws_is_of_the_seeds_that_were_launched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(slurm, "submit", lambda steps, placement, table, suite, announce: commands.append(table))
    submit("digits", "full", 3, [], Placement(store=tmp_path, results=tmp_path))
    (command,) = commands
    assert command[command.index("harness.cli") :][:7] == [
        "harness.cli", "leaderboard", "digits", "--suite", "full", "--seeds", "3",
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["launch", "leaderboard"])
def test_no_seeds_are_no_table(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "digits", "--seeds", "0"])
    assert "'0' is not a positive whole number" in capsys.readouterr().err
