"""A file that changed on disk is refused."""

import hashlib
from pathlib import Path

import pytest

from harness.data.checksum import checksum, verify
from harness.errors import UserError


def test_checksum_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"pixels")
    assert checksum(tmp_path / "file") == hashlib.sha256(b"pixels").hexdigest()


def test_one_flipped_bit_is_found(digits_file: Path, tmp_path: Path) -> None:
    expected = checksum(digits_file)
    verify(digits_file, expected)
    content = bytearray(digits_file.read_bytes())
    content[len(content) // 2] ^= 1
    copy = tmp_path / "copy.beton"
    copy.write_bytes(content)
    with pytest.raises(UserError, match=rf"{copy} is damaged: sha256 is \w+, its manifest says {expected}; delete it"):
        verify(copy, expected)


def test_a_lost_tail_is_found_although_the_file_was_good_before(digits_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.beton"
    copy.write_bytes(digits_file.read_bytes())
    verify(copy, checksum(digits_file))
    copy.write_bytes(digits_file.read_bytes()[:-1000])
    with pytest.raises(UserError, match="is damaged"):
        verify(copy, checksum(digits_file))


def test_a_file_is_read_once(digits_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = checksum(digits_file)
    verify(digits_file, expected)
    monkeypatch.setattr(hashlib, "file_digest", None)  # a second reading would fail
    verify(digits_file, expected)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path / 'gone.beton'} is missing"):
        verify(tmp_path / "gone.beton", "0" * 64)
