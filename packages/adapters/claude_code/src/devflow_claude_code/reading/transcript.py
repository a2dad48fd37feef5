"""Reads one transcript file as rows, and later only what was appended to it.

Rows and gaps together cover every byte. A row holds what the index needs and the position of its
line; the content stays on disk until it is needed, so that a file of 100 MB needs an index of about
10 MB.
"""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from devflow_core.errors import SessionError

from devflow_claude_code.reading.damage import Damage, list_lines
from devflow_claude_code.reading.rows import Json, RowReader, TranscriptRow, decode_line, title_of
from devflow_claude_code.reading.salvage import find_records, is_filler

MAX_LINE_BYTES = 32 * 1024 * 1024
"""The bytes of a line, without its end, from which on it is skipped and reported.

Anthropic's API takes requests of at most 32 MB, so the client itself could not send such a line
back (Claude Code's longest lines hold images and have a few MB).
"""
MAX_FOLDERS = 64
"""The most folders that are kept: the one that the session started in is among the first."""
_CHUNK_BYTES = 1024 * 1024
"""Bytes that are read at once when a file is indexed."""
_BUFFER_BYTES = 64 * 1024
"""Bytes that are read at once when single lines are loaded."""
_METADATA_FIELDS = ("version", "cwd", "gitBranch", "sessionId")


class Transcript:
    """An indexed transcript file; `refresh` reads only what was appended since.

    Holds no open file between calls.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[TranscriptRow] = []
        """All records and the gaps between them, in order; their spans cover the file."""
        self.metadata: dict[str, str] = {}
        """The latest values of `version`, `cwd`, `gitBranch` and `sessionId`."""
        self.titles: dict[tuple[str, str], str] = {}
        """The titles by kind and owner: a session's id, or a `leafUuid`."""
        self.folders: dict[str, None] = {}
        """The shell's folders in order of time, each once; at most the first `MAX_FOLDERS`."""
        self._mended_lines: list[int] = []
        self._line = 0
        self._end_offset = 0
        self._is_tail_open = False
        self._identity: tuple[int, int] | None = None
        self._reader = RowReader()

    @property
    def size_bytes(self) -> int:
        """Bytes of the file that have been read."""
        return self._end_offset

    @property
    def skipped_lines(self) -> int:
        """The number of lines that could not be read in full, because of damage or their length.

        A last line still being written counts as one.
        """
        return len({row.line for row in self.rows if row.type == "?"})

    def find_damage(self, bridged: Iterable[int] = ()) -> Damage:
        """Report what was lost and what was repaired.

        Args:
            bridged: numbers of the lines whose parent is missing (`bridged_lines`).
        """
        lost = [row for row in self.rows if row.type == "?"]
        shared = {one.line for row, one in pairwise(self.rows) if row.line == one.line}
        kept = {row.line for row in self.rows if row.type not in ("", "?")}
        return Damage(
            unreadable=list_lines(row.line for row in lost if row.length <= MAX_LINE_BYTES),
            overlong=list_lines(row.line for row in lost if row.length > MAX_LINE_BYTES),
            salvaged=list_lines([*(shared & kept), *self._mended_lines]),
            bridged=list_lines(bridged),
        )

    def refresh(self) -> bool:
        """Read what was added to the file, and return whether anything was.

        A last line without a line end is accepted if it is complete, and read again when the file
        has grown. A file that has shrunk or been replaced is read from its start. Lines of
        `MAX_LINE_BYTES` or more are skipped without being held in memory.

        Raises:
            SessionError: the file is missing, unreadable, or not a regular file.
        """
        before = (self._identity, self._end_offset)
        with open_regular_file(self.path) as file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            # The file's state decides what is read: same file and grown: the new bytes; another
            # inode, or shorter: all of it; unchanged: nothing. A last line without an end is read
            # again if it has grown.
            if identity != self._identity or status.st_size < self._end_offset:
                self._reset(identity)
            if status.st_size > self._end_offset:
                self._drop_open_tail()
                file.seek(self._end_offset)
                with gc_paused():
                    for line, length, is_ended in _split_lines(file):
                        self._add_line(line, length)
                        self._is_tail_open = not is_ended
        return (self._identity, self._end_offset) != before

    def load(self, row: TranscriptRow) -> Json:
        """Return the decoded line of a row; {} for a line that is not a JSON object.

        Opens the file each time; for several rows, use `load_all` or `open_loader`.

        Raises:
            SessionError: the file is gone, unreadable, or not a regular file.
        """
        with self.open_loader() as load:
            return load(row)

    def load_all(self, rows: Iterable[TranscriptRow]) -> Iterator[tuple[TranscriptRow, Json]]:
        """Yield rows with their decoded lines; the file stays open until the iteration ends.

        Raises:
            SessionError: the file is gone, unreadable, or not a regular file.
        """
        with self.open_loader() as load:
            for row in rows:
                yield row, load(row)

    @contextmanager
    def open_loader(self) -> Generator[Callable[[TranscriptRow], Json]]:
        """Yield a function that decodes the line of a row; the file is open within the context.

        Raises:
            SessionError: the file is gone, unreadable, or not a regular file.
        """
        with open_regular_file(self.path) as file:
            yield lambda row: _load(file, row)

    def _reset(self, identity: tuple[int, int]) -> None:
        for one in (self.rows, self.metadata, self.titles, self.folders, self._mended_lines):
            one.clear()
        self._line = self._end_offset = 0
        self._is_tail_open = False
        self._identity = identity

    def _drop_open_tail(self) -> None:
        if not self._is_tail_open:
            return
        while self.rows and self.rows[-1].line == self._line:
            # a damaged last line may have become several rows
            self._end_offset = self.rows.pop().offset
        if self._mended_lines and self._mended_lines[-1] == self._line:
            self._mended_lines.pop()
        self._line -= 1
        self._is_tail_open = False

    def _add_line(self, line: bytes | None, length: int) -> None:
        """Add one line; `length` includes its end, and `line` is None if it was too long."""
        self._line += 1
        body = decode_line(line) if line else None
        if line is None:
            self._add_gap("?", length)
        elif body is not None:
            self._add_record(body, length)
            # checking is only needed where bytes above 127 occur, which is rare
            if not line.isascii() and not _is_utf8(line):
                self._mended_lines.append(self._line)
        elif is_filler(line):
            self._add_gap("?" if line.strip() else "", length)
        else:
            self._add_pieces(line, length)

    def _add_pieces(self, line: bytes, length: int) -> None:
        """Add the complete records of a damaged line, and the gaps between them."""
        position = 0
        for start, end, body in find_records(line):
            if start > position:
                self._add_gap("" if is_filler(line[position:start]) else "?", start - position)
            self._add_record(body, end - start)
            position = end
        if length > position:
            is_end = position > 0 and is_filler(line[position:])
            self._add_gap("" if is_end else "?", length - position)

    def _add_gap(self, kind: str, length: int) -> None:
        gap = self._reader.make_placeholder(self._line, self._end_offset, length, kind)
        self._end_offset += length
        self.rows.append(gap)

    def _add_record(self, body: Json, length: int) -> None:
        row = self._reader.read_row(self._line, self._end_offset, length, body)
        self._end_offset += length
        self.rows.append(row)
        if row.uuid is not None:
            self._update_metadata(row, body)
        elif (title := title_of(row.type, body)) is not None:
            kind, owner, words = title
            self.titles[kind, owner] = words

    def _update_metadata(self, row: TranscriptRow, body: Json) -> None:
        metadata = self.metadata
        # a sub-agent may work in another folder, which is not the session's
        if row.is_sidechain and metadata:
            return
        for name in _METADATA_FIELDS:
            value = body.get(name)
            if value != metadata.get(name) and isinstance(value, str) and value:
                metadata[name] = value
                if name == "cwd" and len(self.folders) < MAX_FOLDERS:
                    self.folders[value] = None


def check_transcript(transcript: Transcript) -> None:
    """Check that a file, which has been read, is a transcript at all.

    Raises:
        SessionError: it is empty, or holds no record of a session.
    """
    rows = [row for row in transcript.rows if row.type]
    if not rows:
        raise SessionError(f"{transcript.path}:1: the file is empty; it holds no session.")
    if "version" in transcript.metadata or any(
        row.type != "?" and _is_session_row(row) for row in rows
    ):
        return
    raise SessionError(
        f"{transcript.path}:{rows[0].line}: this is not a transcript of Claude Code"
        " (no line is a record of a session)."
    )


def _is_session_row(row: TranscriptRow) -> bool:
    return row.type in ("user", "assistant", "summary", "system", "queue-operation") and (
        row.uuid is not None or row.refers_to is not None
    )


def _split_lines(file: BinaryIO) -> Iterator[tuple[bytes | None, int, bool]]:
    """Yield lines without their ends, their lengths with them, and whether they have an end.

    For a line that is too long, None stands in place of its bytes.
    """
    pieces: list[bytes] = []
    length = 0
    while chunk := file.read(_CHUNK_BYTES):
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            pieces.append(piece)
            length += len(piece)
            yield (b"".join(pieces) if length < MAX_LINE_BYTES else None), length + 1, True
            pieces, length = [], 0
        length += len(rest)
        pieces = [*pieces, rest] if length < MAX_LINE_BYTES else []
    if length:
        yield (b"".join(pieces) if length < MAX_LINE_BYTES else None), length, False


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _load(file: BinaryIO, row: TranscriptRow) -> Json:
    return (decode_line(_read_span(file, row)) or {}) if row.type not in ("", "?") else {}


def _read_span(file: BinaryIO, row: TranscriptRow) -> bytes:
    file.seek(row.offset)
    return file.read(row.length)


def open_regular_file(path: Path) -> BinaryIO:
    """Open a file for reading bytes; the caller closes it.

    Raises:
        SessionError: it is missing, unreadable, or not a regular file (a pipe would block).
    """
    try:
        # O_NONBLOCK: opening a named pipe would otherwise wait for its writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SessionError(f"{path}: cannot be read: {reason}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SessionError(f"{path}: not a regular file, so not a transcript of a session.")
    return os.fdopen(descriptor, "rb", buffering=_BUFFER_BYTES)


@contextmanager
def gc_paused() -> Generator[None]:
    """Pause the garbage collector: rows are long-lived, and collections would dominate the time."""
    # nested or concurrent uses must not switch on what the caller had switched off
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
