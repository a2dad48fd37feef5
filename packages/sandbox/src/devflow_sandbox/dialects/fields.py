"""Parses fields that several dialects share."""

from __future__ import annotations

from typing import cast

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import BodyReader, ToolDefinition


def read_tool_choice(choice: object, tools: tuple[ToolDefinition, ...]) -> str:
    """Read any form of `tool_choice`; return `auto`, `none`, `required`, or `=name` for a tool.

    Another text is returned as it is.

    Raises:
        ApiError: 400, if it has another type, or names a tool that is not in `tools`.
    """
    if choice is None or isinstance(choice, str):
        return {"any": "required"}.get(choice or "auto", choice or "auto")
    if not isinstance(choice, dict):
        raise invalid_request("Invalid input: tool_choice: expected string or object")
    chosen = cast(JsonObject, choice)
    reader = BodyReader(chosen, "tool_choice.")
    function = BodyReader(reader.object("function"), "tool_choice.function.")
    name = reader.text("name") or function.text("name")
    if name is None:
        return {"any": "required", "none": "none"}.get(str(chosen.get("type")), "auto")
    if name not in {tool.name for tool in tools}:
        raise invalid_request(f"Tool choice '{name}' not found in 'tools' parameter")
    return f"={name}"
