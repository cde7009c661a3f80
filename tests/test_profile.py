"""Cluster profiles: what the user wrote once is what a launch is told, and a slip is named by file, table and key."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.profile import DEFAULT, LARGEST_FILE, Profile, read_profile, sbatch_options

LAB = """
[default]
partition = "gpu"

[lab]
partition = "a100"
account = "vision"
qos = "long"
constraint = "ib"
reservation = "course"
gres = "nvme:1"
mem = "64G"
minutes = 1440
gpus = 8
max_jobs = 20
max_submit = 900
signal_seconds = 120
setup = ["module load cuda/12.4", "\\tulimit -n 65536"]
srun = ["--container-image=harness.sqsh"]
python = "/opt/venv/bin/python"
sbatch = { wckey = "ours", exclude = "n[1-3]", nice = 100, exclusive = true, mail_type = "FAIL" }
"""


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, not yet written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "harness" / "clusters.toml"
    path.parent.mkdir(parents=True)
    return path


def test_a_profile_says_everything_that_a_site_wants(users: Path) -> None:
    users.write_text(LAB)
    lab = read_profile("lab")
    assert all(getattr(lab, field.name) for field in fields(Profile)), "a key that this test leaves out is read by none"
    assert (lab.minutes, lab.gpus, lab.max_jobs, lab.max_submit, lab.signal_seconds) == (1440, 8, 20, 900, 120)
    assert lab.setup == ("module load cuda/12.4", "\tulimit -n 65536")
    assert lab.srun == ("--container-image=harness.sqsh",)
    assert lab.python == "/opt/venv/bin/python"
    assert lab.site_options() == {
        "partition": "a100", "account": "vision", "qos": "long", "constraint": "ib", "reservation": "course",
        "gres": "nvme:1", "mem": "64G",
        "wckey": "ours", "exclude": "n[1-3]", "nice": "100", "exclusive": True, "mail-type": "FAIL",
    }  # fmt: skip


def test_a_launch_that_names_no_profile_takes_the_default_one(users: Path) -> None:
    assert read_profile(None) == Profile(), "nobody has to write a file"
    users.write_text('[lab]\nmem = "1G"')
    assert read_profile(None) == Profile()
    users.write_text(LAB)
    assert read_profile(None).site_options() == {"partition": "gpu"}


def test_the_file_lies_where_configuration_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config" / "harness").mkdir(parents=True)
    (tmp_path / ".config" / "harness" / "clusters.toml").write_text(LAB)
    assert read_profile("lab").account == "vision"


def test_a_project_can_bring_a_file_of_its_own(users: Path, tmp_path: Path) -> None:
    users.write_text('[default]\naccount = "private"')
    brought = tmp_path / "site:a.toml"
    brought.write_text(LAB)
    assert read_profile(str(brought)).partition == "gpu"
    assert read_profile(f"{brought}:lab").partition == "a100"
    assert read_profile("lab", brought).partition == "a100"


def test_what_is_asked_for_and_is_not_there_is_said(users: Path, tmp_path: Path) -> None:
    assert complaint("lab") == (f"no profile 'lab': there is no file {users}; write it there, below a line [lab]")
    users.write_text(LAB)
    assert complaint("labb") == f"{users}: no table [labb]: did you mean 'lab'?"
    missing = tmp_path / "none.toml"
    assert f"there is no file {missing}" in complaint(f"{missing}:lab")
    missing.write_text("[lab]")
    assert complaint(str(missing)) == f"{missing}: no table [default]: known are lab"


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('minutes = "1d"', "minutes must be a whole number above 0, not '1d'"),
        ("minutes = 0", "minutes must be a whole number above 0, not 0"),
        ("gpus = true", "gpus must be a whole number above 0, not True"),
        ("max_jobs = 2.5", "max_jobs must be a whole number above 0, not 2.5"),
        ("mem = 64", "mem must be text on one line, not 64"),
        ('account = " "', "account must be text on one line, not ' '"),
        ('setup = "module load cuda"', "setup must be a list of lines in [...], not 'module load cuda'"),
        ('setup = ["a\\nb"]', "setup must be text on one line, not 'a\\nb'"),
        ('python = "a\\u0000b"', "python must be text on one line, not 'a\\x00b'"),
        ("srun = [1]", "srun must be text on one line, not 1"),
        ('setup = [" #SBATCH --mem=1G"]', "is an option of sbatch: write it into sbatch = {...}"),
        ('partitions = "gpu"', "unknown key 'partitions': did you mean 'partition'?"),
        ("sub = {}", "another option of sbatch goes into sbatch = {...}"),
        ("minutes = 2\nsignal_seconds = 120", "signal_seconds 120 is not shorter than a job of 2 minutes"),
        ("sbatch = 1", "sbatch must be options in {...}, not 1"),
        ("sbatch = { wckey = false }", "sbatch: wckey must be text on one line, not False"),
        ('sbatch = { wckey = "a\\nb" }', "sbatch: wckey must be text on one line"),
        ('sbatch = { "a\\nb" = "x" }', "sbatch: 'a\\nb' is not the long name of an option of sbatch"),
        ('sbatch = { p = "gpu" }', "sbatch: 'p' is not the long name of an option of sbatch"),
        ('sbatch = { mem = "1G" }', "mem has a place of its own: write mem = ... outside sbatch"),
    ],
)
def test_each_slip_is_named_by_file_table_and_key(users: Path, line: str, wrong: str) -> None:
    users.write_text(f"[default]\n{line}\n")
    said = complaint(None)
    assert said.startswith(f"{users}: [{DEFAULT}]: ") and wrong in said


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b"[lab]\npartition = gpu\n", "is not TOML: Invalid value (at line 2, column 13)"),
        (b"[lab]\n\xff", "is not TOML: 'utf-8' codec can't decode"),
        (b"a = " + b"[" * 100_000, "is not TOML: "),
        (b'mem = "64G"\n[lab]\n', "'mem' stands in no table: write it below a line such as [default]"),
        (b"#" * (LARGEST_FILE + 1), "has more than 1,000,000 bytes: that is no file of profiles"),
    ],
    ids=["syntax", "not text", "nested without end", "no table", "too large"],
)
def test_a_file_that_is_none_of_ours_is_refused(users: Path, text: bytes, wrong: str) -> None:
    users.write_bytes(text)
    assert str(users) in complaint("lab") and wrong in complaint("lab")


def test_a_file_that_cannot_be_read_is_said_even_where_none_is_needed(users: Path) -> None:
    users.mkdir()
    assert complaint(None) == f"cannot read the profiles in {users}: Is a directory"


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("array", "a plan decides it"),
        ("dependency", "a plan decides it"),
        ("kill-on-invalid-dep", "a plan decides it"),
        ("kill_on_invalid_dep", "a plan decides it"),
        ("nodes", "--nodes and --gpus decide it"),
        ("ntasks", "--nodes and --gpus decide it"),
        ("ntasks-per-node", "--nodes and --gpus decide it"),
        ("cpus-per-task", "--workers decides it"),
        ("job-name", "jobs are found again by their name"),
        ("output", "logs have their place in the store"),
        ("error", "logs have their place in the store"),
        ("open-mode", "logs have their place in the store"),
        ("requeue", "an interrupted job is put back by itself"),
        ("no-requeue", "an interrupted job is put back by itself"),
        ("chdir", "jobs run in a snapshot of the code"),
        ("export", "ranks are told through the environment where to meet"),
        ("parsable", "it is about how a job is submitted"),
        ("wrap", "it is about how a job is submitted"),
        ("time", "write it as minutes = ..."),
        ("gpus-per-node", "write it as gpus = ..."),
        ("signal", "write it as signal_seconds = ..."),
    ],
)
def test_what_the_harness_sets_itself_is_no_sites_to_choose(users: Path, option: str, reason: str) -> None:
    users.write_text(f"[lab.sbatch]\n{option} = true\n")
    assert f"{users}: [lab]: sbatch: {option} is not to be set here: {reason}" in complaint("lab")
    with pytest.raises(UserError, match=f"^--sbatch: {option} is not to be set here"):
        sbatch_options({option: "x"}, "--sbatch")


def test_a_flag_that_overrides_a_profile_is_held_to_the_same_sums(users: Path) -> None:
    users.write_text(LAB)
    with pytest.raises(UserError, match="signal_seconds 120 is not shorter than a job of 2 minutes"):
        replace(read_profile("lab"), minutes=2)


def complaint(name: str | None) -> str:
    """The one line that reading the profile ends with."""
    with pytest.raises(UserError) as refusal:
        read_profile(name)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)
