"""The rows of a session as messages of the hub, repaired so that any provider accepts them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from devflow_core.messages import Media, Message, Part, Role, Text, ToolCall, ToolResult

from devflow_claude_code.context.masking import Masker
from devflow_claude_code.reading.content import blocks, flat, human_text, mapping, string
from devflow_claude_code.reading.rows import Json, Row

_INTERRUPTED = "[no result: the call was interrupted]"
_BAD_ID = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(slots=True)
class _Turn:
    role: Role
    parts: list[Part] = field(default_factory=list[Part])
    message_id: str | None = None


class History:
    """Builds messages from rows; `left_out` counts what a foreign model cannot be given.

    Args:
        takes_images: whether images are kept; otherwise a note stands for each.
    """

    def __init__(self, *, takes_images: bool = True) -> None:
        self.left_out: Counter[str] = Counter()
        self.masker = Masker()
        self._takes_images = takes_images
        self._turns: list[_Turn] = []
        self._open: dict[str, str] = {}
        self._answered: set[str] = set()

    def take(self, rows: Iterable[tuple[Row, Json]]) -> None:
        """The rows of a branch, in order."""
        for row, body in rows:
            if row.is_api_error:
                self.left_out["error message of the client"] += 1
            elif row.type == "assistant":
                self._take_reply(row, body)
            elif row.type == "user":
                self._take_user(body)
            elif text := human_text(row, body):
                self._add("user", [Text(text=self.masker.clean(text))])

    def messages(self) -> tuple[Message, ...]:
        """User and assistant in turns, every call answered in the message after it."""
        self._answer_open_calls()
        return tuple(
            Message(role=turn.role, parts=tuple(_results_first(turn.parts)))
            for turn in self._turns
            if turn.parts
        )

    def tool_names(self) -> tuple[str, ...]:
        """Names of the tools that were called."""
        names = {
            part.name for turn in self._turns for part in turn.parts if isinstance(part, ToolCall)
        }
        return tuple(sorted(names))

    def _take_reply(self, row: Row, body: Json) -> None:
        if not self._is_same_reply(row):
            self._answer_open_calls()
        parts = [part for block in blocks(body) if (part := self._reply_part(block)) is not None]
        self._add("assistant", parts, row.message_id)

    def _is_same_reply(self, row: Row) -> bool:
        """Whether the row is another block of the reply that was last added to."""
        turn = self._turns[-1] if self._turns else None
        return turn is not None and turn.role == "assistant" and turn.message_id == row.message_id

    def _reply_part(self, block: Json) -> Part | None:
        kind = string(block, "type")
        if kind == "text":
            text = self.masker.clean(string(block, "text"))
            return Text(text=text) if text.strip() else None
        if kind == "tool_use":
            call_id = _safe(string(block, "id"))
            if not call_id or call_id in self._open or call_id in self._answered:
                self.left_out["repeated tool call"] += 1
                return None
            name = _safe(string(block, "name")) or "unnamed"
            self._open[call_id] = name
            arguments = self.masker.clean_json(mapping(block, "input"))
            return ToolCall(id=call_id, name=name, arguments=arguments)
        if kind in ("thinking", "redacted_thinking"):
            self.left_out["thinking block (only the model that signed it takes it)"] += 1
            return None
        return Text(text=self.masker.clean_json(block))

    def _take_user(self, body: Json) -> None:
        parts: list[Part] = []
        for block in blocks(body):
            kind = string(block, "type")
            if kind == "tool_result":
                parts.append(self._result(block))
            elif kind in ("image", "document"):
                parts.append(self._media(block, kind))
            elif text := flat([block]).strip():
                parts.append(Text(text=self.masker.clean(text)))
        if not any(isinstance(part, ToolResult) for part in parts):
            self._answer_open_calls()
        self._add("user", parts)

    def _result(self, block: Json) -> Part:
        call_id = _safe(string(block, "tool_use_id"))
        content = block.get("content")
        is_list = isinstance(content, list)
        inner = cast("list[object]", content) if is_list else [flat(content)]
        parts = tuple(self._result_part(one) for one in inner)
        if call_id not in self._open:
            self.left_out["tool result without its call (kept as text)"] += 1
            return Text(text=self.masker.clean(flat(inner)))
        del self._open[call_id]
        self._answered.add(call_id)
        return ToolResult(call_id=call_id, parts=parts, is_error=block.get("is_error") is True)

    def _result_part(self, block: object) -> Text | Media:
        kind = string(block, "type")
        if kind in ("image", "document"):
            return self._media(block, kind)
        return Text(text=self.masker.clean(flat([block])))

    def _media(self, block: object, kind: str) -> Text | Media:
        source = mapping(block, "source")
        media_type = string(source, "media_type") or None
        encoded, url = string(source, "data"), string(source, "url")
        if string(source, "type") == "text":
            return Text(text=self.masker.clean(encoded))
        if not self._takes_images or not (encoded or url):
            self.left_out[f"{kind} (the model does not take it)"] += 1
            return Text(text=f"[{kind} left out: {media_type or 'unknown type'}]")
        return Media(
            kind="image" if kind == "image" else "file",
            media_type=media_type,
            base64=encoded or None,
            url=None if encoded else url,
            name=string(block, "title") or ("document.pdf" if kind == "document" else None),
        )

    def _answer_open_calls(self) -> None:
        """An interrupted call gets a result that says so; every provider wants one."""
        if not self._open:
            return
        parts: list[Part] = [
            ToolResult(call_id=call_id, parts=(Text(text=_INTERRUPTED),), is_error=True)
            for call_id in self._open
        ]
        self.left_out["interrupted tool call (answered as such)"] += len(parts)
        self._answered.update(self._open)
        self._open.clear()
        self._add("user", parts)

    def _add(self, role: Role, parts: list[Part], message_id: str | None = None) -> None:
        if not parts:
            return
        turn = self._turns[-1] if self._turns else None
        if turn is None or turn.role != role:
            turn = _Turn(role)
            self._turns.append(turn)
        turn.message_id = message_id or turn.message_id
        turn.parts += parts


def _results_first(parts: list[Part]) -> list[Part]:
    """Anthropic's API wants the results of a turn before everything else in it."""
    return sorted(parts, key=lambda part: not isinstance(part, ToolResult))


def _safe(name: str) -> str:
    """As providers ask of names and ids of calls."""
    return _BAD_ID.sub("_", name)[:64]
