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

from devflow_claude_code.reading.rows import Json, Row, RowReader, decode, title_of

MAX_LINE_BYTES = 256 * 1024 * 1024
"""A longer line is an attack or a broken disk; Claude Code's longest hold an image, a few MB."""
_CHUNK_BYTES = 1024 * 1024
_BUFFER_BYTES = 64 * 1024
_HEADS = ("version", "cwd", "gitBranch", "sessionId")


class Transcript:
    """A transcript file, indexed. `refresh` reads only what was appended since.

    Holds no open file between calls.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        """Every line, blank and broken ones too, in order: their spans cover the file."""
        self.skipped_lines = 0
        """Lines that are no JSON object; a last line still being written is one."""
        self.heads: dict[str, str] = {}
        """The last known `version`, `cwd`, `gitBranch`, `sessionId` and titles."""
        self._end = 0
        self._is_tail_open = False
        self._identity: tuple[int, int] | None = None
        self._reader = RowReader()

    @property
    def size_bytes(self) -> int:
        """How far it has been read."""
        return self._end

    def refresh(self) -> bool:
        """Read what is new; whether there was anything.

        A last line without line end is taken if it is whole, and read again when the file has
        grown. A file that has shrunk or been replaced is read from its start.

        Raises:
            SessionError: the file is missing, unreadable, no regular file, or has a line over
                `MAX_LINE_BYTES`.
        """
        before = (self._identity, self._end)
        with open_regular(self.path) as file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if identity != self._identity or status.st_size < self._end:
                self._start_again(identity)
            if status.st_size > self._end:
                self._drop_open_tail()
                file.seek(self._end)
                with uncollected():
                    self._take(file)
        return (self._identity, self._end) != before

    def raw(self, row: Row) -> bytes:
        """The bytes of a line, its end included."""
        return next(self.read_raw((row,)))

    def load(self, row: Row) -> Json:
        """The decoded line; an empty object for one that is none."""
        return decode(self.raw(row)) or {}

    def load_all(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Json]]:
        """The decoded lines, with one opening of the file."""
        with self.opened() as load:
            for row in rows:
                yield row, load(row)

    @contextmanager
    def opened(self) -> Generator[Callable[[Row], Json]]:
        """A function that decodes lines, for as long as the file is held open."""
        with open_regular(self.path) as file:
            yield lambda row: decode(_span(file, row)) or {}

    def read_raw(self, rows: Iterable[Row]) -> Iterator[bytes]:
        """The bytes of lines, with one opening of the file."""
        with open_regular(self.path) as file:
            for row in rows:
                yield _span(file, row)

    def _start_again(self, identity: tuple[int, int]) -> None:
        self.rows.clear()
        self.heads.clear()
        self.skipped_lines = self._end = 0
        self._is_tail_open = False
        self._identity = identity

    def _drop_open_tail(self) -> None:
        if self._is_tail_open:
            tail = self.rows.pop()
            self._end = tail.offset
            self.skipped_lines -= tail.type == "?"
            self._is_tail_open = False

    def _take(self, file: BinaryIO) -> None:
        begun: list[bytes] = []
        while chunk := file.read(_CHUNK_BYTES):
            first, *others = chunk.split(b"\n")
            begun.append(first)
            if others:
                self._add_line(b"".join(begun))
                for line in others[:-1]:
                    self._add_line(line)
                begun = [others[-1]]
            elif len(begun) * _CHUNK_BYTES > MAX_LINE_BYTES:
                raise SessionError(
                    f"{self.path}:{len(self.rows) + 1}: the line is longer than"
                    f" {MAX_LINE_BYTES} bytes; this is no transcript of Claude Code."
                )
        if rest := b"".join(begun):
            self._add(rest, len(rest))
            self._is_tail_open = True

    def _add_line(self, line: bytes) -> None:
        self._add(line, len(line) + 1)

    def _add(self, line: bytes, length: int) -> None:
        number, offset = len(self.rows) + 1, self._end
        self._end += length
        body = decode(line)
        if body is None:
            is_blank = not line.strip()
            self.skipped_lines += not is_blank
            kind = "" if is_blank else "?"
            self.rows.append(self._reader.unread(number, offset, length, kind))
            return
        row = self._reader.row(number, offset, length, body)
        self.rows.append(row)
        if row.uuid is not None:
            self._note_heads(row, body)
        elif (title := title_of(row.type, body)) is not None:
            self.heads[title[0]] = title[1]

    def _note_heads(self, row: Row, body: Json) -> None:
        heads = self.heads
        if row.is_sidechain and heads:
            return
        for name in _HEADS:
            value = body.get(name)
            if value != heads.get(name) and isinstance(value, str) and value:
                heads[name] = value


def _span(file: BinaryIO, row: Row) -> bytes:
    file.seek(row.offset)
    return file.read(row.length)


def open_regular(path: Path) -> BinaryIO:
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
def uncollected() -> Generator[None]:
    """Without garbage collection: rows are no garbage, and looking for some takes its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
