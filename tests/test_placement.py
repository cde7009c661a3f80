"""What a launch says beside science: where things are, and what the cluster adds to it."""

import json
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.placement import MINUTES, SIGNAL_SECONDS, Placement, from_record, to_record, visible_gpus
from harness.profile import Profile


def test_only_the_gpus_one_was_given_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert visible_gpus() == [3, 5]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_ranks_are_given_full_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in another folder than the one where the launch was typed."""
    monkeypatch.chdir(tmp_path)
    words = Placement(store=Path("store"), results=Path("results"), data=Path("photos"), checkpoint_s=90).of_a_rank
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given == {
        "--store": f"{tmp_path}/store", "--data": f"{tmp_path}/photos", "--workers": "1", "--patience": "60.0",
        "--checkpoint-minutes": "1.5",
    }  # fmt: skip


def test_the_profile_of_the_cluster_goes_before_what_is_usual(tmp_path: Path) -> None:
    usual = Placement(store=tmp_path, results=tmp_path)
    assert (usual.minutes, usual.signal_seconds) == (MINUTES, SIGNAL_SECONDS)
    there = Placement(store=tmp_path, results=tmp_path, site=Profile(minutes=90, signal_seconds=30))
    assert (there.minutes, there.signal_seconds) == (90, 30)


def test_ranks_keep_their_own_time_for_checkpoints_unless_they_are_told_one(tmp_path: Path) -> None:
    assert "--checkpoint-minutes" not in Placement(store=tmp_path, results=tmp_path).of_a_rank


def test_of_a_short_job_at_most_a_quarter_is_left_to_saving(tmp_path: Path) -> None:
    def told_at(minutes: int) -> int:
        return Placement(store=tmp_path, results=tmp_path, site=Profile(minutes=minutes)).signal_seconds

    assert [told_at(minutes) for minutes in (1, 4, 8, 90)] == [15, 60, 120, 120]


def test_a_job_that_would_be_told_to_end_as_it_starts_is_refused(tmp_path: Path) -> None:
    """A day is the limit where none is stated."""
    words = r"^ranks are to be told 86400 s ahead of the end of a job of 1440 minutes: .*raise --minutes"
    with pytest.raises(UserError, match=words):
        Placement(store=tmp_path, results=tmp_path, site=Profile(signal_seconds=86_400))


def test_the_record_of_a_placement_is_good_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = Profile(
        partition="gpu", minutes=90, setup=("module load cuda",), sbatch={"exclude": "n1", "exclusive": True}
    )
    typed = Placement(store=Path("store"), results=Path("results"), nodes=4, gpus=8, tries=5, site=site)
    record = json.loads(json.dumps(to_record(typed)))
    monkeypatch.chdir("/")
    there = from_record(record)
    assert (there.store, there.results, there.data) == (tmp_path / "store", tmp_path / "results", None)
    assert (there.site, there.nodes, there.gpus, there.tries) == (site, 4, 8, 5)
    assert there.of_a_rank[:2] == ["--store", f"{tmp_path}/store"]


@pytest.mark.parametrize("form", [{}, {"site": None}, {"site": {"colour": "red"}}], ids=str)
def test_what_is_no_record_of_a_placement_is_said(form: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"^not a record of where a launch runs: "):
        from_record(form)
