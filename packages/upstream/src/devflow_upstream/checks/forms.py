"""Checks the form of an answer: the format that was asked for, and the calls of tools."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from devflow_core.messages import ToolCall
from devflow_core.ports import Panel
from devflow_core.request import ChatRequest, Tool
from devflow_core.verification import CheckedAnswer, Verdict

from devflow_upstream.checks.bounded_schema import (
    MAX_VALUE_CHARS,
    TooMuchToCheck,
    find_violation,
)


class FormatCheck:
    """Accepts an answer in the JSON format that was asked for."""

    name = "schema"

    async def judge(
        self, request: ChatRequest, answer: CheckedAnswer, _panel: Panel, /
    ) -> Verdict | None:
        wanted = request.response_format
        if wanted is None or answer.tool_calls:
            return None
        schema: Mapping[str, Any] = wanted.schema
        if wanted.kind == "json_object":
            schema = {"type": "object"}
        return await _judge_json(answer.text, schema, "the answer")


class ToolCallCheck:
    """Accepts calls of known tools whose arguments fit the tools' own schemas.

    Where the request demands a call, an answer without one is refused.
    """

    name = "tools"

    async def judge(
        self, request: ChatRequest, answer: CheckedAnswer, _panel: Panel, /
    ) -> Verdict | None:
        wanted = request.tool_choice.mode if request.tool_choice else "auto"
        if not answer.tool_calls:
            if wanted in ("required", "tool"):
                return Verdict(is_accepted=False, reason="no tool is called")
            return None
        tools = {one.name: one for one in request.tools}
        verdict: Verdict | None = None
        for call in answer.tool_calls:
            found = await _judge_call(call, tools.get(call.name))
            if found is not None and not found.is_accepted:
                return found
            verdict = verdict or found
        return verdict


async def _judge_call(call: ToolCall, tool: Tool | None) -> Verdict | None:
    if tool is None:
        return Verdict(is_accepted=False, reason="there is no tool of this name", detail=call.name)
    if tool.native is not None:
        return None
    schema = {"type": "object", **tool.schema}
    return await _judge_json(call.arguments or "{}", schema, "the arguments")


async def _judge_json(text: str, schema: Mapping[str, Any], what: str) -> Verdict | None:
    if len(text) > MAX_VALUE_CHARS:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Verdict(is_accepted=False, reason=f"{what}: not JSON", detail=error.msg)
    try:
        violated = await asyncio.to_thread(find_violation, schema, value)
    except TooMuchToCheck:
        return None
    if violated is not None:
        return Verdict(is_accepted=False, reason=f"{what}: against `{violated}` of the schema")
    return Verdict(is_accepted=True, reason="it fits the schema")
