"""A file that grows by whole pages, with a log of the finished ones: what a killed writer leaves is taken up again.

Lives here: `Pages`. Must not: what lies on a page.

    NAME         a head, then pages of equal size, then a tail; head and tail are written last
    NAME.jsonl   whose pages they are; then a line for each page: the notes on what it holds, and a SHA-256 over both

A line is written after its page. A kill may tear the last line, a power cut may lose pages: what counts is every line
up to the first that is not whole or does not fit its page.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from harness.data._prefetch import prefetched
from harness.errors import UserError

Note = list[Any]
"""What is remembered of one thing on a page, as JSON can."""
Page = tuple[int, bytearray, list[Note]]
"""Where a page begins in the file, its content, and the notes on it."""

WRITERS = 2
"""Threads that hash and write pages while the next one fills."""


class Pages:
    """The pages of `path`, for one writer at a time. `whose` says what they are made of, as JSON can.

    A page that takes longer than `patience_s` to read or write ends the work. Raises UserError while another process
    writes them.
    """

    def __init__(self, path: Path, *, start: int, page_bytes: int, whose: dict[str, Any], patience_s: float) -> None:
        self._path, self._page_bytes, self._patience_s = path, page_bytes, patience_s
        self._whose = whose
        self._log = _opened(path.with_suffix(".jsonl"))
        try:
            fcntl.flock(self._log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._log.close()
            raise UserError(f"{path} is being written by another process: wait for it or end it") from error
        except OSError:
            pass  # no such locks here: the stage's lease keeps others out
        self._file = _opened(path)
        self.end = start
        """Of the last page that counts."""

    def close(self) -> None:
        """Let another writer in."""
        self._file.close()
        self._log.close()

    def kept(self, workers: int) -> Iterator[list[Note]]:
        """The notes of each page that an earlier writer finished, compared with its hash; go through all, and first.

        Raises UserError if they were made of something else: they may have taken hours.
        """
        first, end = self._log.readline(), 0
        begun = _entry(first)
        if begun not in (None, self._whose):
            raise UserError(
                f"{self._path} was begun from other images: name the folder that holds those, or remove"
                f" {self._path.parent} to begin again"
            )
        if begun is not None:
            end = len(first)
            lines = prefetched(
                self._checked,
                zip(self._log, count(self.end, self._page_bytes), strict=False),
                workers,
                patience_s=self._patience_s,
                reading=str(self._path),
            )
            with closing(lines):
                for length, notes in lines:
                    if notes is None:
                        break
                    end += length
                    self.end += self._page_bytes
                    yield notes
        self._log.seek(end)
        self._log.truncate()
        if end == 0:
            self._file.truncate(0)
            self._write_line(self._whose)

    def extend(self, items: Iterable[tuple[memoryview, Note]]) -> Iterator[list[Note]]:
        """Put each item's data on the page under way, or on the next if it does not fit there; the rest stays zero.

        Yields the notes of a page once it is in the file and in the log: an item's are where its data begin, how many
        bytes they are, and what came with them.
        """
        pages = prefetched(
            self._write_page, self._filled(items), WRITERS, patience_s=self._patience_s, reading=str(self._path)
        )
        with closing(pages):
            for notes, seal in pages:
                self._write_line({"holds": notes, "sha256": seal})
                self.end += self._page_bytes
                yield notes

    def enclose(self, head: bytes, tail: bytes) -> None:
        """Write what stands before the first and behind the last page."""
        self._file.truncate(self.end + len(tail))  # pages that did not count may lie behind
        self._write(tail, self.end)
        self._write(head, 0)

    def _filled(self, items: Iterable[tuple[memoryview, Note]]) -> Iterator[Page]:
        start, page, filled = self.end, bytearray(self._page_bytes), 0
        notes: list[Note] = []
        for data, facts in items:
            if filled + len(data) > self._page_bytes:
                yield start, page, notes
                start, page, filled, notes = start + self._page_bytes, bytearray(self._page_bytes), 0, []
            notes.append([start + filled, len(data), *facts])
            page[filled : filled + len(data)] = data
            filled += len(data)
        if notes:
            yield start, page, notes

    def _write_page(self, page: Page) -> tuple[list[Note], str]:
        start, content, notes = page
        self._write(content, start)
        return notes, _seal(content, notes)

    def _write(self, data: bytes | bytearray, position: int) -> None:
        """Several threads may do so at once."""
        left = memoryview(data)
        while left:
            written = os.pwrite(self._file.fileno(), left, position)
            left, position = left[written:], position + written

    def _write_line(self, entry: dict[str, Any]) -> None:
        self._log.write(json.dumps(entry).encode() + b"\n")
        self._log.flush()

    def _checked(self, logged: tuple[bytes, int]) -> tuple[int, list[Note] | None]:
        """The length of a line of the log and its notes, or None if it is torn or does not fit its page."""
        line, start = logged
        entry = _entry(line)
        if not isinstance(entry, dict) or entry.keys() != {"holds", "sha256"}:
            return len(line), None
        page = os.pread(self._file.fileno(), self._page_bytes, start)
        return len(line), entry["holds"] if _seal(page, entry["holds"]) == entry["sha256"] else None


def _seal(page: bytes | bytearray, notes: list[Note]) -> str:
    digest = hashlib.sha256(page)
    digest.update(json.dumps(notes).encode())
    return digest.hexdigest()


def _entry(line: bytes) -> Any:
    """What a line of a log says, None if it is torn."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _opened(path: Path) -> BinaryIO:
    """The file for reading and writing, made if it is not there, never emptied."""
    return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
