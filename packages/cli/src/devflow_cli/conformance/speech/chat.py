"""Speaks OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from devflow_cli.conformance.recording import JsonObject, TimedEvent, as_object
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

_ENDINGS: Mapping[str, Ending] = {"stop": "end", "length": "length", "tool_calls": "calls"}


class ChatSpeech:
    """OpenAI's chat completions."""

    group: Group = "chat"
    path = "/v1/chat/completions"
    headers: Mapping[str, str] = {}

    def write(self, inquiry: Inquiry, model: str) -> JsonObject:
        body: JsonObject = {
            "model": model,
            "max_tokens": inquiry.max_tokens,
            "messages": _write_messages(inquiry),
        }
        # a stream has no usage unless the request asks for it
        if inquiry.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if inquiry.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": one,
                        "description": f"Does {one}.",
                        "parameters": tool_schema(one),
                    },
                }
                for one in inquiry.tools
            ]
        if inquiry.schema is not None:
            form = {"name": "answer", "strict": True, "schema": inquiry.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body | dict(inquiry.more)

    def read(self, reply: JsonObject) -> Utterance:
        choice = cast(JsonObject, reply["choices"][0])
        message = cast(JsonObject, choice["message"])
        usage = cast(JsonObject, reply.get("usage") or {})
        return Utterance(
            text=str(message.get("content") or ""),
            calls=tuple(
                HeardCall(
                    id=str(one.get("id") or ""),
                    name=str(one["function"].get("name") or ""),
                    arguments=str(one["function"].get("arguments") or ""),
                )
                for one in cast("list[JsonObject]", message.get("tool_calls") or [])
            ),
            ending=_ENDINGS.get(str(choice.get("finish_reason")), "other"),
            input_tokens=count_of(usage, "prompt_tokens"),
            output_tokens=count_of(usage, "completion_tokens"),
            cached_tokens=count_of(usage.get("prompt_tokens_details") or {}, "cached_tokens"),
            total_tokens=count_of(usage, "total_tokens"),
            reply=reply,
        )

    def assemble(self, events: Sequence[TimedEvent]) -> JsonObject:
        reply: JsonObject = {"usage": None}
        text, finish = "", None
        calls: list[JsonObject] = []
        for event in (one.json for one in events):
            # the usage comes in an event of its own, without choices
            reply |= {"usage": event.get("usage") or reply["usage"]}
            for choice in cast("list[JsonObject]", event.get("choices") or [])[:1]:
                delta = cast(JsonObject, choice.get("delta") or {})
                text += str(delta.get("content") or "")
                finish = choice.get("finish_reason") or finish
                for piece in cast("list[JsonObject]", delta.get("tool_calls") or []):
                    _add_piece(calls, piece)
        message = {"role": "assistant", "content": text, "tool_calls": calls}
        return {**reply, "choices": [{"message": message, "finish_reason": finish}]}

    def find_text(self, event: TimedEvent) -> str:
        choices = cast("list[JsonObject]", event.json.get("choices") or [])
        return "".join(str(as_object(one.get("delta")).get("content") or "") for one in choices)

    def invalid_body(self, model: str) -> JsonObject:
        return {"model": model, "messages": "none"}

    def find_error(self, body: JsonObject) -> str | None:
        return find_openai_error(body)


def find_openai_error(body: JsonObject) -> str | None:
    """Return the kind of an error in OpenAI's shape; None if the body has none."""
    error = body.get("error")
    if not isinstance(error, dict):
        return None
    said = cast(JsonObject, error)
    kind: Any = said.get("type") or said.get("code")
    return str(kind) if kind and isinstance(said.get("message"), str) and said["message"] else None


def _add_piece(calls: list[JsonObject], piece: JsonObject) -> None:
    """Add a piece to its call; one with another id under a used number is a call of its own."""
    function = cast(JsonObject, piece.get("function") or {})
    same = [one for one in calls if one["index"] == piece.get("index")]
    if not same or piece.get("id") not in (None, "", same[-1]["id"]):
        shared = bool(same)
        call: JsonObject = {"index": piece.get("index"), "id": piece.get("id"), "shared": shared}
        calls.append({**call, "function": {"name": "", "arguments": ""}})
        same = calls[-1:]
    for field in ("name", "arguments"):
        same[-1]["function"][field] += str(function.get(field) or "")


def _write_messages(inquiry: Inquiry) -> list[JsonObject]:
    messages: list[JsonObject] = []
    if inquiry.system is not None:
        messages.append({"role": "system", "content": inquiry.system})
    if inquiry.late_system is not None:
        messages.append({"role": "developer", "content": inquiry.late_system})
    content: Any = inquiry.question
    if inquiry.has_picture:
        url = f"data:image/png;base64,{make_picture()}"
        picture = {"type": "image_url", "image_url": {"url": url}}
        content = [{"type": "text", "text": inquiry.question}, picture]
    messages.append({"role": "user", "content": content})
    if inquiry.results:
        made = zip(inquiry.tools, inquiry.results, strict=True)
        calls: list[JsonObject] = [
            {
                "type": "function",
                "id": call,
                "function": {"name": name, "arguments": f'{{"side":"{name.rpartition("_")[2]}"}}'},
            }
            for name, (call, _) in made
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [
            {"role": "tool", "tool_call_id": call, "content": result}
            for call, result in inquiry.results
        ]
    return messages
