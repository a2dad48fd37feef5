"""One transcript file as rows: streamed, read on from where it grew, and never lost a byte of.

A row holds what the index needs and where its line stands; its content stays on disk until
somebody asks, so that a file of 100 MB costs an index of some ten.
"""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from devflow_core.errors import SessionError

from devflow_claude_code.reading.rows import Json, RowReader, TranscriptRow, decode_line, title_of

MAX_LINE_BYTES = 256 * 1024 * 1024
"""A longer line is an attack or a broken disk; Claude Code's longest hold an image, a few MB."""
_CHUNK_BYTES = 1024 * 1024
_BUFFER_BYTES = 64 * 1024
_METADATA_FIELDS = ("version", "cwd", "gitBranch", "sessionId")


class Transcript:
    """A transcript file, indexed. `refresh` reads only what was appended since.

    Holds no open file between calls.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[TranscriptRow] = []
        """Every line, blank and broken ones too, in order: their spans cover the file."""
        self.skipped_lines = 0
        """Lines that are no JSON object; a last line still being written is one."""
        self.metadata: dict[str, str] = {}
        """The last known `version`, `cwd`, `gitBranch`, `sessionId` and titles."""
        self._end_offset = 0
        self._is_tail_open = False
        self._identity: tuple[int, int] | None = None
        self._reader = RowReader()

    @property
    def size_bytes(self) -> int:
        """How far it has been read."""
        return self._end_offset

    def refresh(self) -> bool:
        """Read what is new; whether there was anything.

        A last line without line end is taken if it is whole, and read again when the file has
        grown. A file that has shrunk or been replaced is read from its start.

        Raises:
            SessionError: the file is missing, unreadable, no regular file, or has a line over
                `MAX_LINE_BYTES`.
        """
        before = (self._identity, self._end_offset)
        with open_regular_file(self.path) as file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if identity != self._identity or status.st_size < self._end_offset:
                self._reset(identity)
            if status.st_size > self._end_offset:
                self._drop_open_tail()
                file.seek(self._end_offset)
                with gc_paused():
                    self._index_lines(file)
        return (self._identity, self._end_offset) != before

    def read_line(self, row: TranscriptRow) -> bytes:
        """The bytes of a line, its end included."""
        return next(self.read_lines((row,)))

    def load(self, row: TranscriptRow) -> Json:
        """The decoded line; an empty object for one that is none."""
        return decode_line(self.read_line(row)) or {}

    def load_all(self, rows: Iterable[TranscriptRow]) -> Iterator[tuple[TranscriptRow, Json]]:
        """The decoded lines, with one opening of the file."""
        with self.open_loader() as load:
            for row in rows:
                yield row, load(row)

    @contextmanager
    def open_loader(self) -> Generator[Callable[[TranscriptRow], Json]]:
        """A function that decodes lines, for as long as the file is held open."""
        with open_regular_file(self.path) as file:
            yield lambda row: decode_line(_read_span(file, row)) or {}

    def read_lines(self, rows: Iterable[TranscriptRow]) -> Iterator[bytes]:
        """The bytes of lines, with one opening of the file."""
        with open_regular_file(self.path) as file:
            for row in rows:
                yield _read_span(file, row)

    def _reset(self, identity: tuple[int, int]) -> None:
        self.rows.clear()
        self.metadata.clear()
        self.skipped_lines = self._end_offset = 0
        self._is_tail_open = False
        self._identity = identity

    def _drop_open_tail(self) -> None:
        if self._is_tail_open:
            row = self.rows.pop()
            self._end_offset = row.offset
            self.skipped_lines -= row.type == "?"
            self._is_tail_open = False

    def _index_lines(self, file: BinaryIO) -> None:
        pieces: list[bytes] = []
        while chunk := file.read(_CHUNK_BYTES):
            first, *others = chunk.split(b"\n")
            pieces.append(first)
            if others:
                self._add_line(b"".join(pieces))
                for line in others[:-1]:
                    self._add_line(line)
                pieces = [others[-1]]
            elif len(pieces) * _CHUNK_BYTES > MAX_LINE_BYTES:
                raise SessionError(
                    f"{self.path}:{len(self.rows) + 1}: the line is longer than"
                    f" {MAX_LINE_BYTES} bytes; this is no transcript of Claude Code."
                )
        if tail := b"".join(pieces):
            self._add_row(tail, len(tail))
            self._is_tail_open = True

    def _add_line(self, line: bytes) -> None:
        self._add_row(line, len(line) + 1)

    def _add_row(self, line: bytes, length: int) -> None:
        number, offset = len(self.rows) + 1, self._end_offset
        self._end_offset += length
        body = decode_line(line)
        if body is None:
            is_blank = not line.strip()
            self.skipped_lines += not is_blank
            kind = "" if is_blank else "?"
            self.rows.append(self._reader.make_placeholder(number, offset, length, kind))
            return
        row = self._reader.read_row(number, offset, length, body)
        self.rows.append(row)
        if row.uuid is not None:
            self._update_metadata(row, body)
        elif (title := title_of(row.type, body)) is not None:
            self.metadata[title[0]] = title[1]

    def _update_metadata(self, row: TranscriptRow, body: Json) -> None:
        metadata = self.metadata
        if row.is_sidechain and metadata:
            return
        for name in _METADATA_FIELDS:
            value = body.get(name)
            if value != metadata.get(name) and isinstance(value, str) and value:
                metadata[name] = value


def _read_span(file: BinaryIO, row: TranscriptRow) -> bytes:
    file.seek(row.offset)
    return file.read(row.length)


def open_regular_file(path: Path) -> BinaryIO:
    """Open for reading, bytes; the caller closes it.

    Raises:
        SessionError: it is missing, not readable, or no regular file (a pipe would block).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SessionError(f"{path}: cannot be read: {reason}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SessionError(f"{path}: is no regular file, so no transcript of a session.")
    return os.fdopen(descriptor, "rb", buffering=_BUFFER_BYTES)


@contextmanager
def gc_paused() -> Generator[None]:
    """Without garbage collection: rows are no garbage, and looking for some takes its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
