"""Files a session has read and changed, with their last content as far as it was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from devflow_claude_code.context.facts import Fact
from devflow_claude_code.reading.content import mapping, string
from devflow_claude_code.reading.rows import Json, Row

_MOST_SNIPPETS = 5


class _Change(NamedTuple):
    tool: str
    asked: Json
    answer: Row


@dataclass(slots=True)
class _File:
    line: int = 0
    changes: list[_Change] = field(default_factory=list[_Change])
    """The last few: each tells the whole file, unless it was too large."""
    read: Row | None = None


class FileStates:
    """Notes reads, writes and edits. What a shell command did to a file is not seen."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}

    def take_call(self, line: int, tool: str, asked: Json, answer: Row) -> None:
        """A call that succeeded, and the row of its result."""
        path = string(asked, "file_path") or string(asked, "notebook_path")
        if not path:
            return
        file = self._at(path, line)
        if tool == "Read":
            file.read = answer
        else:
            file.changes = [*file.changes[1 - _MOST_SNIPPETS :], _Change(tool, asked, answer)]

    def take_attachment(self, row: Row, body: Json) -> None:
        """A file that the user has put into a prompt."""
        if row.subtype == "file" and (path := string(mapping(body, "attachment"), "filename")):
            self._at(path, row.line).read = row

    def facts(self, load: Callable[[Row], Json]) -> list[Fact]:
        """One fact per file, the changed ones weigh more."""
        return [_fact(path, file, load) for path, file in self._files.items()]

    def _at(self, path: str, line: int) -> _File:
        file = self._files.pop(path, None) or _File()
        file.line = line
        self._files[path] = file
        return file


def _fact(path: str, file: _File, load: Callable[[Row], Json]) -> Fact:
    content, is_whole = _last_content(file, load)
    word = "changed" if file.changes else "read"
    seen = "" if is_whole or not content else ", seen in part"
    return Fact(
        kind="file",
        text=f"{path} ({word}{seen})\n{content}".rstrip(),
        line=file.line,
        weight=65 if file.changes else 40,
    )


def _last_content(file: _File, load: Callable[[Row], Json]) -> tuple[str, bool]:
    """What was seen last, and whether that is the whole file."""
    read = _as_read(load(file.read)) if file.read is not None else ("", False)
    if not file.changes:
        return read
    last = file.changes[-1]
    if file.read is not None and read[1] and file.read.line > last.answer.line:
        return read
    after = _after(last, mapping(load(last.answer), "toolUseResult"))
    return (after, True) if after is not None else (_snippets(file.changes), False)


def _as_read(body: Json) -> tuple[str, bool]:
    attached = mapping(mapping(body, "attachment"), "content")
    file = mapping(attached or mapping(body, "toolUseResult"), "file")
    is_whole = file.get("startLine", 1) == 1 and file.get("numLines") == file.get("totalLines")
    return string(file, "content"), is_whole


def _after(change: _Change, outcome: Json) -> str | None:
    """The file after a change; None where only the changed piece is known."""
    if change.tool == "Write":
        return string(change.asked, "content")
    before = string(outcome, "originalFile")
    if not before:
        return None
    for edit in _edits(change):
        old, new = string(edit, "old_string"), string(edit, "new_string")
        count = -1 if edit.get("replace_all") is True else 1
        before = before.replace(old, new, count) if old else new
    return before


def _snippets(changes: list[_Change]) -> str:
    return "\n".join(
        f"… {string(edit, 'new_string') or string(edit, 'new_source')} …"
        for change in changes
        for edit in _edits(change)
    )


def _edits(change: _Change) -> list[Json]:
    edits = change.asked.get("edits")
    if not isinstance(edits, list):
        return [change.asked]
    return [one for one in cast("list[Any]", edits) if isinstance(one, dict)]
