"""Indexes one line of a transcript: its ids, links and counts, without the content."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, cast

import orjson

from devflow_claude_code.reading.usage import Billing, TranscriptTokens, parse_usage

Json = dict[str, Any]

# An escaped backslash, a proper pair, or a lone half; matching the first two keeps them untouched.
_SURROGATES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_TITLE_FIELDS = {
    "custom-title": "customTitle",
    "ai-title": "aiTitle",
    "summary": "summary",
    "agent-name": "agentName",
}


class TranscriptRow(NamedTuple):
    """The index entry of one line; a named tuple, since a file can have a hundred thousand."""

    line: int
    """The line's number, from 1, as in an editor."""
    offset: int
    """The line's position in the file, in bytes from 0."""
    length: int
    """The line's length in bytes, including its end."""
    type: str
    """Claude Code's `type`, else `untyped`; empty for a blank line, `?` for an unreadable one."""
    subtype: str
    """The subtype of a `system` row, or the type of an attachment."""
    uuid: str | None
    parent: str | None
    """The uuid of the row that this one follows; None for a first row."""
    timestamp: str
    """The time as the client wrote it, RFC 3339 in UTC; empty if there is none."""
    is_sidechain: bool
    """Whether the row belongs to a sub-agent."""
    is_meta: bool
    """Whether the client added the text of a user row, not the user."""
    is_api_error: bool
    """Whether the client wrote the row because a call failed."""
    is_summary: bool
    """Whether the row is the summary that replaces what was compacted."""
    message_id: str | None
    model: str | None
    tool_calls: tuple[tuple[str, str], ...]
    """Tool calls in this row: id and name."""
    tool_results: tuple[tuple[str, bool], ...]
    """Answers to tool calls in this row: id, and whether it is an error."""
    has_text: bool
    """Whether it holds text or an image, and not only tool traffic or thinking."""
    tokens: TranscriptTokens | None
    """The tokens of the whole reply, not only of this block; None for rows without usage."""
    refers_to: str | None
    """`leafUuid` of a `last-prompt` or `summary`; for a compaction, the last row before it."""
    request_id: str | None
    """The request id of the call that made the reply, if the client recorded it."""
    billing: Billing | None
    """Facts that affect the cost besides the tokens; None for an ordinary reply."""
    forked_from: tuple[str, str] | None
    """The session and row that this one was copied from, if the client says so."""
    branch: str | None = None
    """The git branch that was checked out; None if the row names none."""
    agent: str | None = None
    """The id of the sub-agent that the row belongs to, if the client says so."""


def decode_line(line: bytes) -> Json | None:
    """Decode a line as a JSON object; None if it is not one.

    JavaScript escapes half a surrogate pair if a text was cut within an emoji. Such escapes, and
    bytes that are not UTF-8, become U+FFFD.
    """
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError:
        repaired = _SURROGATES.sub(_replace_lone_surrogate, line).decode("utf-8", "replace")
        try:
            body = orjson.loads(repaired)
        except orjson.JSONDecodeError:
            return None
    return cast("Json", body) if isinstance(body, dict) else None


def title_of(kind: str, body: Json) -> tuple[str, str, str] | None:
    """Return kind, owner and text of a title; None if the row is not one.

    The kind is the field that holds the title, such as `customTitle`. The owner is a session's id,
    or the `leafUuid` of a `summary`.

    Args:
        kind: the row's `type`.
        body: the decoded row.
    """
    name = _TITLE_FIELDS.get(kind)
    words = body.get(name) if name is not None else None
    if name is None or not isinstance(words, str) or not words:
        return None
    return name, _as_text(body.get("leafUuid" if kind == "summary" else "sessionId")), words


def _replace_lone_surrogate(match: re.Match[bytes]) -> bytes:
    found = match.group()
    return b"\\ufffd" if len(found) == 6 else found


class RowReader:
    """Makes rows from the decoded lines of one file, sharing equal strings between neighbours.

    A hundred thousand rows repeat a handful of names, and most refer to the row before: sharing
    halves their memory.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._uuid: str | None = None
        self._message_id: str | None = None
        self._request_id: str | None = None
        self._usage: object = None
        self._counted: tuple[TranscriptTokens | None, Billing | None] = (None, None)

    def read_row(self, line: int, offset: int, length: int, body: Json) -> TranscriptRow:
        """Return the index entry of one line; fields of an unexpected type count as missing."""
        get = body.get
        kind = self._intern(get("type")) or "untyped"
        message = get("message")
        # this runs for every line of every transcript: comparing classes is faster than isinstance
        if message.__class__ is not dict:
            message = None
        calls, results, has_text = self._read_content(message)
        message_id = tokens = billing = request_id = None
        if kind == "assistant":
            message_id, request_id = self._read_ids(message, get("requestId"))
            tokens, billing = self._read_usage(message)
        parent, previous = get("parentUuid"), self._uuid
        uuid = self._uuid = _as_text(get("uuid")) or None
        return TranscriptRow(
            line,
            offset,
            length,
            kind,
            self._subtype(kind, body),
            uuid,
            # the very same string object as the row before, which halves the memory
            previous if parent == previous else _as_text(parent) or None,
            _as_text(get("timestamp")),
            get("isSidechain") is True,
            get("isMeta") is True,
            get("isApiErrorMessage") is True,
            get("isCompactSummary") is True,
            message_id,
            self._read_model(message) if message else None,
            calls,
            results,
            has_text,
            tokens,
            _as_text(get("leafUuid") or get("logicalParentUuid")) or None,
            request_id,
            billing,
            _read_fork(get("forkedFrom")),
            self._intern(get("gitBranch")) or None,
            self._intern(get("agentId")) or None,
        )

    def make_placeholder(self, line: int, offset: int, length: int, kind: str) -> TranscriptRow:
        """Return the entry of a line that is blank or could not be read.

        Its `type` is `kind`: empty for a blank line, otherwise `?`.
        """
        return self.read_row(line, offset, length, {})._replace(type=kind)

    def _intern(self, value: object) -> str:
        return self._names.setdefault(value, value) if isinstance(value, str) else ""

    def _subtype(self, kind: str, body: Json) -> str:
        if kind == "attachment":
            attachment = body.get("attachment")
            if isinstance(attachment, dict):
                return self._intern(cast("Json", attachment).get("type"))
        return self._intern(body.get("subtype"))

    def _read_model(self, message: Json) -> str | None:
        """Return the model that answered, or None; our gateway adds it, as `model` may differ."""
        named = message.get("devflow")
        if isinstance(named, dict) and (model := self._intern(cast("Json", named).get("model"))):
            return model
        return self._intern(message.get("model")) or None

    def _read_ids(self, message: Json | None, request: object) -> tuple[str | None, str | None]:
        message_id = _as_text(message.get("id")) or None if message is not None else None
        if message_id != self._message_id:
            self._message_id = message_id
        request_id = _as_text(request) or None
        if request_id != self._request_id:
            self._request_id = request_id
        return self._message_id, self._request_id

    def _read_usage(self, message: Json | None) -> tuple[TranscriptTokens | None, Billing | None]:
        usage = message.get("usage") if message is not None else None
        # the blocks of one reply repeat its usage: parse it once
        if usage != self._usage:
            self._usage, self._counted = usage, parse_usage(usage)
        return self._counted

    def _read_content(self, message: Json | None) -> _Content:
        content: Any = message.get("content") if message is not None else None
        if content.__class__ is str:
            return (), (), bool(content)
        if content.__class__ is not list:
            return _NO_CONTENT
        calls: list[tuple[str, str]] = []
        results: list[tuple[str, bool]] = []
        has_text = False
        for block in content:
            kind = block.get("type") if block.__class__ is dict else None
            # the most frequent first: half of all rows hold a call or its result
            if kind == "tool_result":
                results.append((_as_text(block.get("tool_use_id")), block.get("is_error") is True))
            elif kind == "tool_use":
                calls.append((_as_text(block.get("id")), self._intern(block.get("name"))))
            elif kind == "text" or kind == "image":
                has_text = True
        return tuple(calls), tuple(results), has_text


_Content = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, bool], ...], bool]
_NO_CONTENT: _Content = ((), (), False)


def _read_fork(fork: object) -> tuple[str, str] | None:
    if not isinstance(fork, dict):
        return None
    origin = cast("Json", fork)
    return _as_text(origin.get("sessionId")), _as_text(origin.get("messageUuid"))


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""
