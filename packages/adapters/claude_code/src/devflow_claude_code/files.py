"""Files a session has read and changed, with their last content as far as it was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from devflow_claude_code.content import mapping, string
from devflow_claude_code.facts import Fact
from devflow_claude_code.transcript import Json


@dataclass(slots=True)
class _File:
    line: int
    content: str | None = None
    is_whole: bool = False
    is_changed: bool = False


class FileStates:
    """Replays reads, writes and edits. What a shell command did to a file is not seen."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}

    def take_call(self, line: int, tool: str, asked: Json, body: Json) -> None:
        """A call that succeeded; `body` is the row of its result."""
        path = string(asked, "file_path") or string(asked, "notebook_path")
        if not path:
            return
        outcome = mapping(body, "toolUseResult")
        file = self._at(path, line)
        if tool == "Read":
            _read(file, mapping(outcome, "file"))
            return
        file.is_changed = True
        if tool == "Write":
            file.content, file.is_whole = string(asked, "content"), True
        elif tool in ("Edit", "MultiEdit"):
            _edit(file, asked, outcome)
        else:
            file.content = string(asked, "new_source")

    def take_attachment(self, line: int, subtype: str, body: Json) -> None:
        """A file that the user has put into a prompt."""
        attachment = mapping(body, "attachment")
        if subtype == "file" and (path := string(attachment, "filename")):
            _read(self._at(path, line), mapping(mapping(attachment, "content"), "file"))

    def facts(self) -> list[Fact]:
        """One fact per file, the changed ones weigh more."""
        return [
            Fact(
                kind="file",
                text=f"{path} ({_word(file)}){_body(file)}",
                line=file.line,
                weight=65 if file.is_changed else 40,
            )
            for path, file in self._files.items()
        ]

    def _at(self, path: str, line: int) -> _File:
        file = self._files.pop(path, None) or _File(line)
        file.line = line
        self._files[path] = file
        return file


def _read(file: _File, seen: Json) -> None:
    content = string(seen, "content")
    is_whole = seen.get("startLine", 1) == 1 and seen.get("numLines") == seen.get("totalLines")
    if content and (is_whole or not file.is_whole):
        file.content, file.is_whole = content, is_whole


def _edit(file: _File, asked: Json, outcome: Json) -> None:
    before = string(outcome, "originalFile") or (file.content if file.is_whole else None)
    edits = cast("list[Any]", asked.get("edits") or [asked])
    if before is None:
        file.content = "\n".join(f"… {string(one, 'new_string')} …" for one in edits)
        return
    for one in edits:
        old, new = string(one, "old_string"), string(one, "new_string")
        everywhere = mapping({"e": one}, "e").get("replace_all") is True
        before = before.replace(old, new, -1 if everywhere else 1) if old else new
    file.content, file.is_whole = before, True


def _word(file: _File) -> str:
    word = "changed" if file.is_changed else "read"
    return word if file.is_whole or file.content is None else f"{word}, seen in part"


def _body(file: _File) -> str:
    return f"\n{file.content}" if file.content else ""
