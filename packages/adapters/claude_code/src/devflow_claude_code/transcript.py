"""One transcript file as rows: streamed, read on from where it grew, and never lost a byte of.

A row holds what the index needs (ids, links, usage) and where its line stands; its content stays
on disk until somebody asks, so that a file of 100 MB costs an index of a few.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson
from devflow_core.errors import SessionError

MAX_LINE_BYTES = 256 * 1024 * 1024
"""A longer line is an attack or a broken disk; Claude Code's longest hold an image, a few MB."""
_CHUNK_BYTES = 1024 * 1024
_SURROGATES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)

Json = dict[str, Any]


class Tokens(NamedTuple):
    """The usage of one row as Anthropic counts it; the five do not overlap."""

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int


class Row(NamedTuple):
    """The index entry of one line; a named tuple, since there are a hundred thousand of them."""

    line: int
    """From 1, as an editor counts."""
    offset: int
    length: int
    """Bytes, the line end included."""
    type: str
    """Claude Code's own word; empty for a blank line, `?` for one that is no JSON object."""
    subtype: str
    """Of a `system` row or an attachment."""
    uuid: str | None
    parent: str | None
    timestamp: str
    is_sidechain: bool
    is_meta: bool
    is_api_error: bool
    """Made by the client when a call failed."""
    is_summary: bool
    """The summary that stands for what was compacted away."""
    message_id: str | None
    model: str | None
    calls: tuple[tuple[str, str], ...]
    """Tools called here: id and name."""
    answers: tuple[tuple[str, bool], ...]
    """Tool calls answered here: id, and whether it is an error."""
    has_text: bool
    """Text of a person or of the model, not only tool traffic or thinking."""
    tokens: Tokens | None
    refers_to: str | None
    """`leafUuid` of a `last-prompt` or `summary`; of a compaction the last row before it."""


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

    @property
    def size_bytes(self) -> int:
        """How far it has been read."""
        return self._end

    def refresh(self) -> int:
        """Read what is new; returns how many rows came.

        A last line without line end is taken if it is whole, and read again when the file has
        grown. A file that has shrunk or been replaced is read from its start.

        Raises:
            SessionError: the file is missing, unreadable, no regular file, or has a line over
                `MAX_LINE_BYTES`.
        """
        before = len(self.rows)
        with open_regular(self.path) as file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if identity != self._identity or status.st_size < self._end:
                self._start_again(identity)
            if status.st_size > self._end:
                self._drop_open_tail()
                file.seek(self._end)
                self._take(file)
        return len(self.rows) - before

    def raw(self, row: Row) -> bytes:
        """The bytes of a line, its end included."""
        return next(self.read_raw((row,)))

    def load(self, row: Row) -> Json:
        """The decoded line; an empty object for one that is none."""
        return decode(self.raw(row)) or {}

    def load_all(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Json]]:
        """The decoded lines, with one opening of the file."""
        for row, raw in zip(rows, self.read_raw(rows), strict=True):
            yield row, decode(raw) or {}

    def read_raw(self, rows: Sequence[Row]) -> Iterator[bytes]:
        """The bytes of lines, with one opening of the file."""
        with open_regular(self.path) as file:
            for row in rows:
                file.seek(row.offset)
                yield file.read(row.length)

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

    def _take(self, file: Any) -> None:
        rest = b""
        while chunk := file.read(_CHUNK_BYTES):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            if len(rest) > MAX_LINE_BYTES:
                raise SessionError(
                    f"{self.path}:{len(self.rows) + len(lines) + 1}: the line is longer than"
                    f" {MAX_LINE_BYTES} bytes; this is no transcript of Claude Code."
                )
            for line in lines:
                self._add(line, len(line) + 1)
        if rest:
            self._add(rest, len(rest))
            self._is_tail_open = True

    def _add(self, line: bytes, length: int) -> None:
        number, offset = len(self.rows) + 1, self._end
        self._end += length
        body = decode(line)
        if body is None:
            is_blank = not line.strip()
            self.skipped_lines += not is_blank
            self.rows.append(_unread(number, offset, length, "" if is_blank else "?"))
            return
        self.rows.append(_row(number, offset, length, body))
        _note_heads(self.heads, body)


def open_regular(path: Path) -> Any:
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
    return os.fdopen(descriptor, "rb", buffering=0)


def decode(line: bytes) -> Json | None:
    """A line as JSON object, or None.

    JavaScript writes half of a surrogate pair as an escape where a text was cut within an emoji;
    that, and bytes that are no UTF-8, become U+FFFD.
    """
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError:
        mended = _SURROGATES.sub(_whole_character, line).decode("utf-8", "replace")
        try:
            body = orjson.loads(mended)
        except orjson.JSONDecodeError:
            return None
    return cast("Json", body) if isinstance(body, dict) else None


def _whole_character(match: re.Match[bytes]) -> bytes:
    found = match.group()
    return b"\\ufffd" if len(found) == 6 else found


def _unread(line: int, offset: int, length: int, kind: str) -> Row:
    return Row(
        line, offset, length, kind, "", None, None, "",
        False, False, False, False, None, None, (), (), False, None, None,
    )  # fmt: skip


def _row(line: int, offset: int, length: int, body: Json) -> Row:
    message = body.get("message")
    message = cast("Json", message) if isinstance(message, dict) else {}
    calls, answers, has_text = _traffic(message.get("content"))
    kind = _text(body.get("type"))
    return Row(
        line=line,
        offset=offset,
        length=length,
        type=kind or "untyped",
        subtype=_subtype(kind, body),
        uuid=_text(body.get("uuid")) or None,
        parent=_text(body.get("parentUuid")) or None,
        timestamp=_text(body.get("timestamp")),
        is_sidechain=body.get("isSidechain") is True,
        is_meta=body.get("isMeta") is True,
        is_api_error=body.get("isApiErrorMessage") is True,
        is_summary=body.get("isCompactSummary") is True,
        message_id=_text(message.get("id")) or None if kind == "assistant" else None,
        model=_text(message.get("model")) or None,
        calls=calls,
        answers=answers,
        has_text=has_text,
        tokens=_tokens(message.get("usage")) if kind == "assistant" else None,
        refers_to=_text(body.get("leafUuid") or body.get("logicalParentUuid")) or None,
    )


def _subtype(kind: str, body: Json) -> str:
    if kind == "attachment":
        attachment = body.get("attachment")
        if isinstance(attachment, dict):
            return _text(cast("Json", attachment).get("type"))
    return _text(body.get("subtype"))


_NOTHING: tuple[tuple[()], tuple[()], bool] = ((), (), False)


def _traffic(
    content: object,
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, bool], ...], bool]:
    if isinstance(content, str):
        return (), (), bool(content)
    if not isinstance(content, list):
        return _NOTHING
    calls: list[tuple[str, str]] = []
    answers: list[tuple[str, bool]] = []
    has_text = False
    for block in cast("list[Json]", content):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text" or kind == "image":
            has_text = True
        elif kind == "tool_use":
            calls.append((_text(block.get("id")), _text(block.get("name"))))
        elif kind == "tool_result":
            answers.append((_text(block.get("tool_use_id")), block.get("is_error") is True))
    return tuple(calls), tuple(answers), has_text


def _tokens(usage: object) -> Tokens | None:
    if not isinstance(usage, dict):
        return None
    counts = cast("Json", usage)
    split = counts.get("cache_creation")
    written = _count(counts.get("cache_creation_input_tokens"))
    hour = 0
    if isinstance(split, dict):
        parts = cast("Json", split)
        hour = _count(parts.get("ephemeral_1h_input_tokens"))
        written = max(written, hour + _count(parts.get("ephemeral_5m_input_tokens")))
    return Tokens(
        input=_count(counts.get("input_tokens")),
        cache_read=_count(counts.get("cache_read_input_tokens")),
        cache_write_5m=written - hour,
        cache_write_1h=hour,
        output=_count(counts.get("output_tokens")),
    )


_HEADS = ("version", "cwd", "gitBranch", "sessionId", "slug")
_TITLES = {
    "custom-title": "customTitle",
    "ai-title": "aiTitle",
    "summary": "summary",
    "agent-name": "agentName",
}


def _note_heads(heads: dict[str, str], body: Json) -> None:
    title = _TITLES.get(_text(body.get("type")))
    if title is not None and (words := _text(body.get(title))):
        heads[title] = words
    if "version" not in body:
        return
    if body.get("isSidechain") is True and heads:
        return
    for name in _HEADS:
        value = body.get(name)
        if isinstance(value, str) and value:
            heads[name] = value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
