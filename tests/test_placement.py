"""What a launch says beside science: where things are, and what the cluster adds to it."""

from pathlib import Path

import pytest

from harness.placement import MINUTES, SIGNAL_SECONDS, Placement, visible_gpus
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
