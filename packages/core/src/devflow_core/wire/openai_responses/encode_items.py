"""Encodes messages as items of a responses input."""

from __future__ import annotations

from typing import Any

from devflow_core.messages import (
    Media,
    Message,
    OpaquePart,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from devflow_core.wire import json_strict as strict
from devflow_core.wire.data_url import url_of
from devflow_core.wire.extra_fields import Omissions
from devflow_core.wire.openai_responses.name import WIRE
from devflow_core.wire.openai_responses.tool_names import WireTool, unwrap_input

_ROLES = frozenset({"user", "assistant", "system", "developer"})


class ItemWriter:
    """Encodes messages as items.

    Args:
        tools: the client's forms of its tools; a call is sent back in the form it came in.
        omitted: collects what is left out.
        is_native: whether the messages came in this dialect.
    """

    def __init__(self, tools: dict[str, WireTool], omitted: Omissions, *, is_native: bool) -> None:
        self._is_native = is_native
        self.items: list[dict[str, Any]] = []
        self._tools = tools
        self._omitted = omitted
        self._custom_calls: set[str] = set()

    def add(self, message: Message) -> None:
        """Add the items of one message to `items`: calls, results and reasoning are separate.

        Raises:
            InvalidRequest: the message holds a part that this dialect cannot express.
        """
        role = str(message.extra.get("role", message.role))
        if role not in _ROLES and not self._is_native:
            self._omitted.add(f"role {role} of a message")
            role = message.role
        if message.name is not None or set(message.extra) - {"role", "cache_control"}:
            self._omitted.add("further fields of a message")
        pending: list[dict[str, Any]] = []
        for part in message.parts:
            item = self._encode_item(part)
            if item is None:
                block = self._encode_content(part, role)
                if block is not None:
                    pending.append(block)
                continue
            self._flush(role, pending)
            self.items.append(item)
        self._flush(role, pending)

    def _flush(self, role: str, pending: list[dict[str, Any]]) -> None:
        if pending:
            self.items.append({"type": "message", "role": role, "content": [*pending]})
            pending.clear()

    def _encode_item(self, part: Part) -> dict[str, Any] | None:
        """Return the item for a part that is one; None for content of a message."""
        match part:
            case ToolCall():
                return self._encode_call(part)
            case ToolResult():
                kind = "custom_tool_call" if part.call_id in self._custom_calls else "function_call"
                return {
                    "type": f"{kind}_output",
                    "call_id": part.call_id,
                    "output": self._encode_output(part),
                }
            case Reasoning() if part.encrypted is not None:
                return {
                    "type": "reasoning",
                    **strict.drop_none(id=(part.detail or {}).get("id")),
                    "summary": [{"type": "summary_text", "text": part.text}] if part.text else [],
                    "encrypted_content": part.encrypted,
                }
            case OpaquePart() if part.wire == WIRE and "role" not in part.body:
                return dict(part.body) if _is_item(part) else None
            case _:
                return None

    def _encode_call(self, call: ToolCall) -> dict[str, Any]:
        known = self._tools.get(call.name) or WireTool(name=call.name)
        if known.is_custom:
            self._custom_calls.add(call.id)
            return {
                "type": "custom_tool_call",
                "call_id": call.id,
                "name": known.name,
                "input": unwrap_input(call.arguments),
                **strict.drop_none(namespace=known.namespace),
            }
        return {
            "type": "function_call",
            "call_id": call.id,
            "name": known.name,
            "arguments": call.arguments or "{}",
            **strict.drop_none(namespace=known.namespace),
        }

    def _encode_output(self, result: ToolResult) -> str | list[dict[str, Any]]:
        if result.is_error:
            self._omitted.add("is_error of a tool's result")
        match result.parts:
            case ():
                return ""
            case (Text(text=text),):
                return text
            case parts:
                encoded = [self._encode_content(one, "user") for one in parts]
                return [one for one in encoded if one is not None]

    def _encode_content(self, part: Part, role: str) -> dict[str, Any] | None:
        match part:
            case Text():
                if role == "assistant":
                    return {"type": "output_text", "text": part.text, "annotations": []}
                return _encode_text(part)
            case Media():
                return _encode_media(part)
            case OpaquePart() if part.wire == WIRE:
                return dict(part.body)
            case OpaquePart():
                self._omitted.add_part(part)
                return None
            case Reasoning():
                self._omitted.add("thinking without a signature of this dialect")
                return None
            case _:
                raise strict.invalid_value(
                    "messages", f"a {type(part).__name__} cannot be sent in this dialect"
                )


def _is_item(part: OpaquePart) -> bool:
    """Return whether an unknown part came as an item rather than in a message's content."""
    return not str(part.body.get("type", "")).startswith(("input_", "output_"))


def _encode_text(part: Text) -> dict[str, Any]:
    return {"type": "input_text", "text": part.text}


def _encode_media(media: Media) -> dict[str, Any]:
    match media.kind:
        case "image":
            image = {"type": "input_image", "image_url": url_of(media)}
            return {**image, "detail": media.detail or "auto"}
        case "file" if media.url is not None:
            return {"type": "input_file", "file_url": media.url}
        case "file":
            return {
                "type": "input_file",
                "filename": media.name or "file",
                "file_data": url_of(media),
            }
        case _:
            raise strict.invalid_value("messages", f"{media.kind} cannot be sent by Responses")
