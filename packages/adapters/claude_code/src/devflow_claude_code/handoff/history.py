"""Converts the rows of a session to messages, repaired so that any provider accepts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import orjson
from devflow_core.masking import Masker, escape_invisible
from devflow_core.media_notes import media_note
from devflow_core.messages import Media, Message, Part, Role, Text, ToolCall, ToolResult

from devflow_claude_code.handoff.call_ids import CallIds, make_safe_name
from devflow_claude_code.reading.block_words import has_encrypted_content, is_server_block
from devflow_claude_code.reading.content import (
    as_json,
    blocks,
    flatten_text,
    get_object,
    get_string,
    human_text,
    map_strings,
)
from devflow_claude_code.reading.rows import Json, TranscriptRow

# Kinds with their own rendering; for others, what the words leave out is counted.
_CLIENT_KINDS = frozenset({"text", "image", "document", "tool_reference"})
_INTERRUPTED = "[no result: the call was interrupted]"


@dataclass(slots=True)
class _Turn:
    role: Role
    parts: list[Part] = field(default_factory=list[Part])
    message_id: str | None = None


class HistoryBuilder:
    """Builds messages from rows, with secrets masked.

    `left_out` counts by description what another model cannot be given, and what was changed;
    `masker` counts the secrets.

    Args:
        takes_images: whether images and documents are kept; otherwise a note replaces each.
    """

    def __init__(self, *, takes_images: bool = True) -> None:
        self.left_out: Counter[str] = Counter()
        self.masker = Masker()
        self._takes_images = takes_images
        self._turns: list[_Turn] = []
        self._calls = CallIds()

    def add_rows(self, rows: Iterable[tuple[TranscriptRow, Json]]) -> None:
        """Add rows of a branch with their decoded lines, in order.

        Thinking is dropped, and so are error messages of the client.
        """
        for row, body in rows:
            # the order matters: error messages of the client are assistant rows too
            if row.is_api_error:
                self.left_out["error message of the client"] += 1
            elif row.type == "assistant":
                self._add_reply(row, body)
            elif row.type == "user":
                self._add_user_row(body)
            elif text := human_text(row, body):
                self._add_parts("user", [self._clean_text(text)])

    def build_messages(self) -> tuple[Message, ...]:
        """Return alternating user and assistant messages; each call is answered in the next one.

        Call it after all rows were added: open calls are answered as interrupted.
        """
        self._answer_open_calls()
        return tuple(
            Message(role=turn.role, parts=tuple(_sort_results_first(turn.parts)))
            for turn in self._turns
            if turn.parts
        )

    def tool_names(self) -> tuple[str, ...]:
        """Return the names of all tools that were called, as they are sent, sorted."""
        names = {
            part.name for turn in self._turns for part in turn.parts if isinstance(part, ToolCall)
        }
        return tuple(sorted(names))

    def _add_reply(self, row: TranscriptRow, body: Json) -> None:
        if not self._is_same_reply(row):
            self._answer_open_calls()
        parts = [
            part for block in blocks(body) if (part := self._convert_reply_block(block)) is not None
        ]
        self._add_parts("assistant", parts, row.message_id)

    def _is_same_reply(self, row: TranscriptRow) -> bool:
        """Return whether the row is another block of the last reply."""
        turn = self._turns[-1] if self._turns else None
        return turn is not None and turn.role == "assistant" and turn.message_id == row.message_id

    def _convert_reply_block(self, block: Json) -> Part | None:
        kind = get_string(block, "type")
        if kind == "text":
            text = self._clean_text(get_string(block, "text"))
            return text if text.text.strip() else None
        if kind == "tool_use":
            call_id = self._calls.open(get_string(block, "id"))
            if call_id is None:
                self.left_out["repeated tool call"] += 1
                return None
            name = make_safe_name(get_string(block, "name")) or "unnamed"
            return ToolCall(id=call_id, name=name, arguments=self._clean_json(block))
        if kind in ("thinking", "redacted_thinking"):
            # its signature is only valid for the model that signed it; others reject the block
            self.left_out["thinking block (only the model that signed it takes it)"] += 1
            return None
        return self._convert_other_block(block)

    def _convert_other_block(self, block: object) -> Text:
        """Describe a block in words; what the words leave out is counted."""
        kind = get_string(block, "type")
        if kind not in _CLIENT_KINDS:
            if has_encrypted_content(block):
                self.left_out["encrypted content of a server's tool"] += 1
            elif kind and not is_server_block(kind):
                self.left_out["block of an unknown kind (named in a note)"] += 1
        return self._clean_text(flatten_text([block]).strip())

    def _add_user_row(self, body: Json) -> None:
        parts: list[Part] = []
        for block in blocks(body):
            kind = get_string(block, "type")
            if kind == "tool_result":
                parts.append(self._convert_result(block))
            elif kind in ("image", "document"):
                parts.append(self._convert_media(block, kind))
            elif (words := self._convert_other_block(block)).text:
                parts.append(words)
        # calls are interrupted for good once the user speaks instead of a tool
        if not any(isinstance(part, ToolResult) for part in parts):
            self._answer_open_calls()
        self._add_parts("user", parts)

    def _convert_result(self, block: Json) -> Part:
        content = block.get("content")
        is_list = isinstance(content, list)
        inner = cast("list[object]", content) if is_list else [flatten_text(content)]
        call_id = self._calls.close(get_string(block, "tool_use_id"))
        if call_id is None:
            self.left_out["tool result without its call (kept as text)"] += 1
            return self._clean_text(flatten_text(inner))
        parts = tuple(self._convert_result_block(one) for one in inner)
        return ToolResult(call_id=call_id, parts=parts, is_error=block.get("is_error") is True)

    def _convert_result_block(self, block: object) -> Text | Media:
        kind = get_string(block, "type")
        if kind in ("image", "document"):
            return self._convert_media(block, kind)
        return self._convert_other_block(block)

    def _convert_media(self, block: object, kind: str) -> Text | Media:
        source = get_object(block, "source")
        media_type = get_string(source, "media_type") or None
        encoded, url = get_string(source, "data"), get_string(source, "url")
        if get_string(source, "type") == "text":
            return self._clean_text(encoded)
        if get_string(source, "type") == "content":
            return self._clean_text(flatten_text(source.get("content")))
        if not self._takes_images or not (encoded or url):
            self.left_out[f"{kind} (the model does not take it)"] += 1
            return self._clean_text(media_note(kind, media_type))
        return Media(
            kind="image" if kind == "image" else "file",
            media_type=media_type,
            base64=encoded or None,
            url=None if encoded else url,
            name=self._clean_text(get_string(block, "title")).text
            or ("document.pdf" if kind == "document" else None),
        )

    def _answer_open_calls(self) -> None:
        """Answer interrupted calls with an error result, since every provider requires a result."""
        parts: list[Part] = [
            ToolResult(call_id=call_id, parts=(Text(text=_INTERRUPTED),), is_error=True)
            for call_id in self._calls.close_all()
        ]
        if parts:
            self.left_out["interrupted tool call (answered as such)"] += len(parts)
            self._add_parts("user", parts)

    def _clean_text(self, text: str) -> Text:
        """Mask secrets and escape invisible characters."""
        return Text(text=escape_invisible(self.masker.mask(text)))

    def _clean_json(self, call: Json) -> str:
        """Clean the arguments of a call like text; they stay valid JSON."""
        text = self.masker.mask_json(get_object(call, "input"))
        # decoding and encoding again is slow, and rarely needed
        if "\\u00" not in text and escape_invisible(text) == text:
            return text
        return as_json(map_strings(orjson.loads(text), escape_invisible))

    def _add_parts(self, role: Role, parts: list[Part], message_id: str | None = None) -> None:
        if not parts:
            return
        turn = self._turns[-1] if self._turns else None
        if turn is None or turn.role != role:
            turn = _Turn(role)
            self._turns.append(turn)
        turn.message_id = message_id or turn.message_id
        turn.parts += parts


def _sort_results_first(parts: list[Part]) -> list[Part]:
    """Put tool results first in a turn, as Anthropic's API requires."""
    return sorted(parts, key=lambda part: not isinstance(part, ToolResult))
