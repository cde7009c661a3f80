"""What is typed about the cluster goes before its profile."""

import argparse
from pathlib import Path

import pytest

from harness.commands._slurm_options import add_slurm, make_profile
from harness.errors import UserError
from harness.profile import Profile

FILE = """
[ours]
partition = "gpu"
account = "lab"
setup = ["module load cuda"]
sbatch = { exclude = "n1", wckey = "ours" }
"""


def profile(*words: str) -> Profile:
    parser = argparse.ArgumentParser()
    add_slurm(parser)
    return make_profile(parser.parse_args(words))


@pytest.fixture
def ours(tmp_path: Path) -> str:
    (tmp_path / "sites.toml").write_text(FILE)
    return f"{tmp_path}/sites.toml:ours"


def test_what_is_typed_goes_before_the_profile(ours: str) -> None:
    typed = profile(
        "--profile", ours, "--partition", "long", "--minutes", "90", "--max-jobs", "4", "--sbatch", "exclude=n2",
        "--sbatch=--nice=100", "--setup", "ulimit -n 9999",
    )  # fmt: skip
    assert typed == Profile(
        partition="long", account="lab", minutes=90, max_jobs=4, setup=("module load cuda", "ulimit -n 9999"),
        sbatch={"exclude": "n2", "wckey": "ours", "nice": "100"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--sbatch", "mem"], "--sbatch mem: KEY=VALUE is expected"),
        (["--sbatch", "job-name=mine"], "--sbatch: job-name is not to be set here: jobs are found again by their name"),
        (["--profile", "nowhere.toml:ours"], "no profile 'ours': there is no file nowhere.toml"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], line: str) -> None:
    with pytest.raises(UserError) as refused:
        profile(*words)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
