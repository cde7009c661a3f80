"""Which executor a command gets, and which options it refuses."""

import os
import stat
from pathlib import Path

import pytest

from harness.choices import require_choices
from harness.cli import choose_executor
from harness.data.augment import Augment
from harness.errors import UserError, exit_code
from harness.models.resnet import ResNet
from harness.placement import visible_gpus
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
