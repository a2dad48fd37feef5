"""Tracks the files a session has read and changed, with the last content it saw of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from devflow_claude_code.context.facts import Fact
from devflow_claude_code.reading.content import get_object, get_string
from devflow_claude_code.reading.rows import Json, TranscriptRow

_MAX_SNIPPETS = 5
"""The most changes remembered per file; all but the last matter only without the whole content."""


class _FileChange(NamedTuple):
    tool: str
    arguments: Json
    result_row: TranscriptRow


@dataclass(slots=True)
class _File:
    line: int = 0
    changes: list[_FileChange] = field(default_factory=list[_FileChange])
    """The last few changes; the result of each holds the whole file, unless that was too large."""
    read: TranscriptRow | None = None


class FileStates:
    """Records reads, writes and edits. Changes made by shell commands are not seen."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}

    def record_call(self, line: int, tool: str, arguments: Json, result_row: TranscriptRow) -> None:
        """Record a call that succeeded; every tool but `Read` counts as a change.

        A call without a path is ignored.

        Args:
            line: the line of the call, from 1.
            tool: the tool's name.
            arguments: the call's arguments.
            result_row: the row of its result.
        """
        path = get_string(arguments, "file_path") or get_string(arguments, "notebook_path")
        if not path:
            return
        file = self._touch(path, line)
        if tool == "Read":
            file.read = result_row
        else:
            file.changes = [
                *file.changes[1 - _MAX_SNIPPETS :],
                _FileChange(tool, arguments, result_row),
            ]

    def record_attachment(self, row: TranscriptRow, body: Json) -> None:
        """Record a file that the user attached to a prompt; other attachments are ignored."""
        if row.subtype == "file" and (
            path := get_string(get_object(body, "attachment"), "filename")
        ):
            self._touch(path, row.line).read = row

    def facts(self, load: Callable[[TranscriptRow], Json]) -> list[Fact]:
        """Return one fact per file, with its last known content or the pieces that were changed.

        The file used last comes last. Changed files weigh more than read ones. `load` returns the
        decoded line of a row.
        """
        return [_build_fact(path, file, load) for path, file in self._files.items()]

    def _touch(self, path: str, line: int) -> _File:
        # removed and added again, so that the file moves to the end: files are in order of last use
        file = self._files.pop(path, None) or _File()
        file.line = line
        self._files[path] = file
        return file


def _build_fact(path: str, file: _File, load: Callable[[TranscriptRow], Json]) -> Fact:
    content, is_whole = _last_content(file, load)
    word = "changed" if file.changes else "read"
    seen = "" if is_whole or not content else ", seen in part"
    return Fact(
        kind="file",
        text=f"{path} ({word}{seen})\n{content}".rstrip(),
        line=file.line,
        weight=65 if file.changes else 40,
    )


def _last_content(file: _File, load: Callable[[TranscriptRow], Json]) -> tuple[str, bool]:
    """Return the content seen last, and whether it is the whole file."""
    read = _read_content(load(file.read)) if file.read is not None else ("", False)
    if not file.changes:
        return read
    last = file.changes[-1]
    # a later read of the whole file is exact; a replayed edit might not be
    if file.read is not None and read[1] and file.read.line > last.result_row.line:
        return read
    content = _apply_change(last, get_object(load(last.result_row), "toolUseResult"))
    return (content, True) if content is not None else (_snippets(file.changes), False)


def _read_content(body: Json) -> tuple[str, bool]:
    attached = get_object(get_object(body, "attachment"), "content")
    file = get_object(attached or get_object(body, "toolUseResult"), "file")
    is_whole = file.get("startLine", 1) == 1 and file.get("numLines") == file.get("totalLines")
    return get_string(file, "content"), is_whole


def _apply_change(change: _FileChange, outcome: Json) -> str | None:
    """Return the file after a change; None if only the changed piece is known."""
    if change.tool == "Write":
        return get_string(change.arguments, "content")
    content = get_string(outcome, "originalFile")
    if not content:
        return None
    for edit in _edits(change):
        old, new = get_string(edit, "old_string"), get_string(edit, "new_string")
        count = -1 if edit.get("replace_all") is True else 1
        content = content.replace(old, new, count) if old else new
    return content


def _snippets(changes: list[_FileChange]) -> str:
    return "\n".join(
        f"… {get_string(edit, 'new_string') or get_string(edit, 'new_source')} …"
        for change in changes
        for edit in _edits(change)
    )


def _edits(change: _FileChange) -> list[Json]:
    edits = change.arguments.get("edits")
    if not isinstance(edits, list):
        return [change.arguments]
    # `MultiEdit` has a list of edits; `Edit` and `NotebookEdit` are a single edit themselves
    return [one for one in cast("list[Any]", edits) if isinstance(one, dict)]
