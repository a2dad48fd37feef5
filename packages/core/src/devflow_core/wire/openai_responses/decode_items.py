"""Decodes items of a responses input; consecutive items of one side form one message."""

from __future__ import annotations

from typing import Any, cast

from devflow_core.messages import (
    JsonObject,
    Media,
    Message,
    OpaquePart,
    Part,
    Reasoning,
    ResultPart,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire import json_strict as strict
from devflow_core.wire.data_url import media_from_url
from devflow_core.wire.openai_responses.name import WIRE
from devflow_core.wire.openai_responses.tool_names import join_name, wrap_input
from devflow_core.wire.reasoning import RESPONSES_FORMAT, unseal

_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
# OpenAI's encrypted reasoning is a Fernet token, which begins with this
_FERNET_PREFIX = "gAAAA"

_NO_ITEMS = (
    "no items are kept here; send the item itself, as clients do with `store: false` in their"
    " options"
)


class ItemReader:
    """Collects items: tool results form a user message, calls an assistant message."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._assistant: list[Part] = []
        self._results: list[Part] = []

    def to_messages(self) -> tuple[Message, ...]:
        """Return the messages of all items so far."""
        self._flush()
        return tuple(self._messages)

    def add(self, item: JsonObject, path: str) -> None:
        """Add the next item.

        Raises:
            InvalidRequest: the item is wrong, or refers to an item that the client has not sent.
        """
        match item.get("type", "message"):
            case "message":
                self._add_message(item, path)
            case "function_call" | "custom_tool_call":
                self._add_to_assistant(_decode_call(item, path))
            case "function_call_output" | "custom_tool_call_output":
                self._flush_assistant()
                self._results.append(_decode_result(item, path))
            case "reasoning":
                self._add_to_assistant(_decode_reasoning(item, path))
            case "item_reference":
                raise strict.invalid_value(path, _NO_ITEMS)
            case _:
                self._add_to_assistant(OpaquePart(wire=WIRE, body=item))

    def _add_message(self, item: JsonObject, path: str) -> None:
        role = strict.required(item, "role", strict.text, path)
        parts = _decode_content(item, path)
        if role == "assistant":
            self._add_to_assistant(*parts)
            return
        self._flush()
        hub_role = _ROLES.get(role, "user")  # the provider may know another role
        extra = {"role": role} if role == "developer" or role not in _ROLES else {}
        self._messages.append(Message(role=hub_role, parts=parts, extra=extra))

    def _add_to_assistant(self, *parts: Part) -> None:
        self._flush_results()
        self._assistant.extend(parts)

    def _flush(self) -> None:
        self._flush_assistant()
        self._flush_results()

    def _flush_assistant(self) -> None:
        if self._assistant:
            self._messages.append(Message(role="assistant", parts=tuple(self._assistant)))
            self._assistant.clear()

    def _flush_results(self) -> None:
        if self._results:
            self._messages.append(Message(role="user", parts=tuple(self._results)))
            self._results.clear()


def _decode_content(item: JsonObject, path: str, key: str = "content") -> tuple[ResultPart, ...]:
    content = item.get(key)
    if isinstance(content, str):
        return (Text(text=content),) if content else ()
    if not isinstance(content, list):
        raise strict.invalid_value(f"{path}.{key}", "must be a string or an array of parts")
    return tuple(_decode_part(part, where) for part, where in strict.objects(item, key, path))


def _decode_part(part: JsonObject, path: str) -> ResultPart:
    match strict.required(part, "type", strict.text, path):
        case "input_text" | "output_text" | "text":
            return Text(text=strict.required(part, "text", strict.text, path))
        case "refusal":
            return Text(text=strict.required(part, "refusal", strict.text, path))
        case "input_image" if isinstance(part.get("image_url"), str):
            detail = strict.optional(part, "detail", strict.text, path)
            return media_from_url("image", part["image_url"], detail=detail)
        case "input_file" if isinstance(part.get("file_data"), str):
            name = strict.optional(part, "filename", strict.text, path)
            return media_from_url("file", part["file_data"], name=name)
        case "input_file" if isinstance(part.get("file_url"), str):
            return Media(kind="file", url=part["file_url"])
        case _:
            return OpaquePart(wire=WIRE, body=part)


def _decode_call(item: JsonObject, path: str) -> ToolCall:
    name = strict.required(item, "name", strict.text, path)
    namespace = strict.optional(item, "namespace", strict.text, path)
    if item["type"] == "custom_tool_call":
        arguments = wrap_input(strict.arguments(item, "input", path))
    else:
        arguments = strict.arguments(item, "arguments", path)
    return ToolCall(
        id=strict.required(item, "call_id", strict.text, path),
        name=join_name(namespace, name),
        arguments=arguments,
    )


def _decode_result(item: JsonObject, path: str) -> ToolResult:
    output = item.get("output")
    parts: tuple[ResultPart, ...] = (
        (Text(text=lenient.as_arguments(cast("JsonObject", output))),)
        if isinstance(output, dict)
        else _decode_content(item, path, "output")
    )
    return ToolResult(call_id=strict.required(item, "call_id", strict.text, path), parts=parts)


def _decode_reasoning(item: JsonObject, path: str) -> Reasoning:
    summary = strict.objects(item, "summary", path) + strict.objects(item, "content", path)
    text = "".join(strict.optional(one, "text", strict.text, where) or "" for one, where in summary)
    encrypted = strict.optional(item, "encrypted_content", strict.text, path)
    sealed = unseal(text, encrypted or "")
    if sealed is not None:
        return sealed
    detail: dict[str, Any] = strict.drop_none(id=item.get("id"))
    if (encrypted or "").startswith(_FERNET_PREFIX):
        detail["format"] = RESPONSES_FORMAT
    return Reasoning(text=text, encrypted=encrypted, detail=detail or None)
