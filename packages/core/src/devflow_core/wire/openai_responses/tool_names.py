"""Translates tools that only this dialect has: groups (`namespace`) and free-form (`custom`).

For other models both become functions: a grouped tool is called `group__name`, and a free-form tool
takes one string `input`. Calls come back under the names that the client gave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import orjson

from devflow_core.messages import JsonObject
from devflow_core.request import ChatRequest, Tool
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire import json_strict as strict
from devflow_core.wire.body import dump
from devflow_core.wire.openai_responses.name import WIRE

_SEPARATOR = "__"
_FREE_FORM_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input, as it is."}},
    "required": ["input"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WireTool:
    """A tool as the client declares and calls it."""

    name: str
    namespace: str | None = None
    """The group that the tool belongs to; None if it is in none."""
    is_custom: bool = False
    """Whether it is free-form: its input is any text rather than a JSON object."""


def join_name(namespace: str | None, name: str) -> str:
    """Return the name under which other models know a tool; `namespace` is None for most tools."""
    return name if namespace is None else f"{namespace}{_SEPARATOR}{name}"


def wrap_input(text: str) -> str:
    """Return a free-form tool's input as the arguments of a function."""
    return dump({"input": text}).decode()


def unwrap_input(arguments: str) -> str:
    """Return a free-form tool's input from a function's arguments; malformed ones are unchanged."""
    try:
        parsed: Any = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    value = cast("JsonObject", parsed).get("input") if isinstance(parsed, dict) else None
    return value if isinstance(value, str) else arguments


def decode_tools(body: JsonObject) -> tuple[Tool, ...]:
    """Return the tools of a request, with groups flattened.

    Raises:
        InvalidRequest: a tool is wrong; the message names its path.
    """
    return tuple(
        one
        for tool, path in strict.objects(body, "tools")
        for one in _decode_tool(tool, path, None)
    )


def has_native_forms(tools: tuple[Tool, ...], body: JsonObject) -> bool:
    """Return whether the client's list has forms that the hub's tools cannot express."""
    return len(tools) != len(body.get("tools") or ()) or any(
        kind in {"namespace", "custom"} for kind in (tool["type"] for tool in body["tools"] or ())
    )


def index_wire_tools(request: ChatRequest) -> dict[str, WireTool]:
    """Return the client's forms of its tools, by the names that models know.

    Empty for a request that came in another dialect.
    """
    origin = request.origin
    if origin is not None and origin.wire != WIRE:
        return {}
    body = request.extra if origin is None or origin.body is None else origin.body
    return dict(_iter_wire_tools(lenient.as_objects(body.get("tools")), None))


def _iter_wire_tools(
    tools: list[JsonObject], namespace: str | None
) -> Iterator[tuple[str, WireTool]]:
    for tool in tools:
        name = tool.get("name")
        if tool.get("type") == "namespace":
            yield from _iter_wire_tools(lenient.as_objects(tool.get("tools")), str(name))
        elif isinstance(name, str):
            is_custom = tool.get("type") == "custom"
            known = WireTool(name=name, namespace=namespace, is_custom=is_custom)
            yield join_name(namespace, name), known


def _decode_tool(tool: JsonObject, path: str, namespace: str | None) -> Iterator[Tool]:
    kind = strict.required(tool, "type", strict.text, path)
    match kind:
        case "function":
            yield Tool(
                name=join_name(namespace, strict.required(tool, "name", strict.name, path)),
                description=strict.optional(tool, "description", strict.text, path) or "",
                schema=strict.optional(tool, "parameters", strict.json_object, path) or {},
                strict=strict.optional(tool, "strict", strict.boolean, path),
            )
        case "custom":
            yield Tool(
                name=join_name(namespace, strict.required(tool, "name", strict.name, path)),
                description=_describe_free_form(tool, path),
                schema=_FREE_FORM_SCHEMA,
            )
        case "namespace":
            group = strict.required(tool, "name", strict.name, path)
            for one, where in strict.objects(tool, "tools", path):
                yield from _decode_tool(one, where, group)
        case _:
            yield Tool(name=kind, native=tool)


def _describe_free_form(tool: JsonObject, path: str) -> str:
    """Return the description, with the grammar that the provider would have enforced."""
    text = strict.optional(tool, "description", strict.text, path) or ""
    form = strict.optional(tool, "format", strict.json_object, path) or {}
    definition = form.get("definition")
    if not isinstance(definition, str):
        return text
    return f"{text}\nThe input must follow this {form.get('syntax') or ''} grammar:\n{definition}"
