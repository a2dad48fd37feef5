"""Speaks OpenAI's Responses without stored state, as Codex does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from devflow_cli.conformance.recording import JsonObject, TimedEvent, as_object
from devflow_cli.conformance.speech.chat import find_openai_error
from devflow_cli.conformance.speech.inquiry import (
    Ending,
    HeardCall,
    Inquiry,
    Utterance,
    count_of,
    make_picture,
    tool_schema,
)
from devflow_cli.conformance.terms import Group

FINAL_EVENTS = ("response.completed", "response.incomplete", "response.failed")
"""Events that end a response and hold all of it."""


class ResponsesSpeech:
    """OpenAI's Responses."""

    group: Group = "responses"
    path = "/v1/responses"
    headers: Mapping[str, str] = {}

    def write(self, inquiry: Inquiry, model: str) -> JsonObject:
        body: JsonObject = {
            "model": model,
            "store": False,
            "stream": inquiry.stream,
            "max_output_tokens": inquiry.max_tokens,
            "input": _write_items(inquiry),
        }
        if inquiry.system is not None:
            body["instructions"] = inquiry.system
        if inquiry.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": one,
                    "description": f"Does {one}.",
                    "parameters": tool_schema(one),
                }
                for one in inquiry.tools
            ]
        if inquiry.schema is not None:
            form = {"type": "json_schema", "name": "answer", "strict": True}
            body["text"] = {"format": {**form, "schema": inquiry.schema}}
        return body | dict(inquiry.more)

    def read(self, reply: JsonObject) -> Utterance:
        items = cast("list[JsonObject]", reply["output"])
        usage = cast(JsonObject, reply.get("usage") or {})
        calls = tuple(
            HeardCall(
                id=str(one.get("call_id") or ""),
                name=str(one.get("name") or ""),
                arguments=str(one.get("arguments") or ""),
            )
            for one in items
            if one["type"] == "function_call"
        )
        parts = [part for one in items if one["type"] == "message" for part in one["content"]]
        return Utterance(
            text="".join(str(part.get("text") or "") for part in parts),
            calls=calls,
            ending=_find_ending(reply, calls),
            input_tokens=count_of(usage, "input_tokens"),
            output_tokens=count_of(usage, "output_tokens"),
            cached_tokens=count_of(usage.get("input_tokens_details") or {}, "cached_tokens"),
            total_tokens=count_of(usage, "total_tokens"),
            reply=reply,
        )

    def assemble(self, events: Sequence[TimedEvent]) -> JsonObject:
        # the final event holds the whole reply, so the others need not be added up
        for event in (one.json for one in reversed(events)):
            if event.get("type") in FINAL_EVENTS:
                return cast(JsonObject, event["response"])
        return {"output": [], "status": "none"}

    def find_text(self, event: TimedEvent) -> str:
        data = event.json
        is_text = data.get("type") == "response.output_text.delta"
        return str(data.get("delta") or "") if is_text else ""

    def invalid_body(self, model: str) -> JsonObject:
        return {"model": model, "store": False, "input": 5}

    def find_error(self, body: JsonObject) -> str | None:
        # in a stream it is a separate event, or inside the response that failed
        if body.get("type") == "error" and "error" not in body:
            return str(body.get("code") or "error") if body.get("message") else None
        response = body.get("response")
        return find_openai_error(cast(JsonObject, response) if isinstance(response, dict) else body)


def _find_ending(reply: JsonObject, calls: Sequence[HeardCall]) -> Ending:
    reason = as_object(reply.get("incomplete_details")).get("reason")
    if reply.get("status") == "incomplete" and reason == "max_output_tokens":
        return "length"
    if reply.get("status") != "completed":
        return "other"
    return "calls" if calls else "end"


def _write_items(inquiry: Inquiry) -> list[JsonObject]:
    items: list[JsonObject] = []
    if inquiry.late_system is not None:
        items.append(_message("developer", inquiry.late_system))
    asked = _message("user", inquiry.question)
    if inquiry.has_picture:
        url = f"data:image/png;base64,{make_picture()}"
        asked["content"].append({"type": "input_image", "image_url": url, "detail": "auto"})
    items.append(asked)
    if inquiry.results:
        made = zip(inquiry.tools, inquiry.results, strict=True)
        items += [
            {
                "type": "function_call",
                "call_id": call,
                "name": name,
                "arguments": f'{{"side":"{name.rpartition("_")[2]}"}}',
            }
            for name, (call, _) in made
        ]
        items += [
            {"type": "function_call_output", "call_id": call, "output": result}
            for call, result in inquiry.results
        ]
    return items


def _message(role: str, text: str) -> JsonObject:
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
