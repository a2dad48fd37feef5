"""Requests and replies against OpenRouter's own description, corrected by what came after it."""

from __future__ import annotations

import ast
import gzip
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_sandbox import Sandbox
from jsonschema import Draft202012Validator

Client = Callable[..., httpx.AsyncClient]
SAMPLES = Path(__file__).parent / "samples"
USER = [{"role": "user", "content": "Use the lookup tool, please."}]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FUNCTION = {"name": "lookup", "parameters": SCHEMA}
CHAT: dict[str, Any] = {"model": "anthropic/claude-sonnet-4.5", "messages": USER}
TOOLS: dict[str, Any] = {**CHAT, "tools": [{"type": "function", "function": FUNCTION}]}
THINKING: dict[str, Any] = {**TOOLS, "reasoning": {"effort": "low"}}
MESSAGES: dict[str, Any] = {
    **CHAT,
    "max_tokens": 2000,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tools": [{"name": "lookup", "input_schema": SCHEMA}],
}
RESPONSES: dict[str, Any] = {
    "model": "openai/gpt-5-mini",
    "input": "Use the lookup tool, please.",
    "reasoning": {"effort": "low"},
    "tools": [{"type": "function", "strict": None, **FUNCTION}],
}


@cache
def description() -> dict[str, Any]:
    """The description of 2026-08-22 with the fields that the SDK of October demands."""
    packed = (SAMPLES / "openapi.json.gz").read_bytes()
    spec: dict[str, Any] = json.loads(gzip.decompress(packed))
    pattern = re.compile(r"^(\w+) \| added .* \| newly required (\[.*\])$", re.MULTILINE)
    for name, required in pattern.findall((SAMPLES / "openapi_drift.txt").read_text()):
        schema = spec["components"]["schemas"].get(name)
        if schema is not None:
            schema["required"] = [*schema.get("required", []), *ast.literal_eval(required)]
    return spec


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    """What is wrong with a value."""
    full_schema = {**schema, "components": description()["components"]}
    validator: Any = Draft202012Validator(full_schema)  # jsonschema's own types are incomplete
    errors = validator.iter_errors(value)
    return [f"{error.json_path}: {error.message[:300]}" for error in errors]


def content(path: str, method: str, status: int) -> dict[str, Any]:
    return description()["paths"][path][method]["responses"][str(status)]["content"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", CHAT),
        ("/chat/completions", TOOLS),
        ("/chat/completions", THINKING),
        ("/chat/completions", {**THINKING, "model": "openai/gpt-5-mini"}),
        ("/messages", {**CHAT, "max_tokens": 100}),
        ("/messages", MESSAGES),
        ("/responses", {"model": "openai/gpt-5-mini", "input": "hi"}),
        ("/responses", RESPONSES),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_conversations_are_as_described(
    client: Client, path: str, body: dict[str, Any], *, stream: bool
) -> None:
    headers = {"x-openrouter-metadata": "enabled"}
    body = {**body, "stream": stream}
    described = description()["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert problems(described["schema"], body) == []
    async with client(Sandbox()) as http:
        reply = await http.post(path[1:], json=body, headers=headers)
    forms = content(path, "post", 200)
    if not stream:
        assert problems(forms["application/json"]["schema"], reply.json()) == []
        return
    schema = forms["text/event-stream"]["schema"]
    for event in re.split(r"\n\n", reply.text.strip()):
        if "data: {" not in event:
            continue
        head, _, data = event.partition("data: ")
        wrapped: dict[str, Any] = {"data": json.loads(data)}
        if wrapped["data"].get("part", {}).get("type") == "reasoning_text":
            continue  # recorded so; the description knows no such part
        if head.startswith("event: "):
            wrapped["event"] = head.removeprefix("event: ").strip()
        assert problems(schema, wrapped) == [], event


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embeddings", {"model": "openai/text-embedding-3-small", "input": "a"}),
        ("/rerank", {"model": "voyageai/rerank-2.5-lite", "query": "a", "documents": ["b"]}),
        ("/images", {"model": "google/gemini-3.1-flash-lite-image", "prompt": "a cat"}),
        (
            "/audio/transcriptions",
            {
                "model": "openai/gpt-4o-mini-transcribe",
                "input_audio": {"data": "UklGRg==", "format": "wav"},
            },
        ),
    ],
)
async def test_other_replies_are_as_described(
    client: Client, path: str, body: dict[str, Any]
) -> None:
    async with client(Sandbox()) as http:
        reply = await http.post(path[1:], json=body)
    schema = content(path, "post", 200)["application/json"]["schema"]
    assert problems(schema, reply.json()) == []


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/models", "models"),
        ("/models/count", "models/count"),
        ("/models/user", "models/user"),
        ("/models", "embeddings/models"),
        ("/model/{author}/{slug}", "model/anthropic/claude-sonnet-4.5"),
        ("/models/{author}/{slug}/endpoints", "models/openai/gpt-5-mini/endpoints"),
        ("/providers", "providers"),
        ("/endpoints/zdr", "endpoints/zdr"),
        ("/key", "key"),
        ("/credits", "credits"),
        ("/activity", "activity"),
        ("/keys", "keys"),
        ("/generation", "generation?id={id}"),
    ],
)
async def test_reading_is_as_described(client: Client, path: str, real: str) -> None:
    sandbox = Sandbox(generation_delay_s=0)
    async with client(sandbox) as http:
        name = (await http.post("chat/completions", json=CHAT)).json()["id"]
    sandbox.advance(86_400)
    async with client(sandbox, sandbox.management_key) as http:
        reply = await http.get(real.format(id=name))
    schema = content(path, "get", 200)["application/json"]["schema"]
    assert reply.status_code == 200
    body = reply.json()
    if isinstance(body["data"], list):
        body["data"] = body["data"][::40]  # a row takes the validator a hundredth of a second
    assert problems(schema, body) == []


async def test_keys_are_as_described(client: Client) -> None:
    sandbox = Sandbox()
    async with client(sandbox, sandbox.management_key) as http:
        created = await http.post("keys", json={"name": "a", "limit": 5, "limit_reset": "daily"})
        path = f"keys/{created.json()['data']['hash']}"
        replies = {
            ("/keys", "post", 201): created,
            ("/keys/{hash}", "patch", 200): await http.patch(path, json={"name": "b"}),
            ("/keys/{hash}", "get", 200): await http.get(path),
            ("/keys/{hash}", "delete", 200): await http.delete(path),
        }
    for place, reply in replies.items():
        schema = content(*place)["application/json"]["schema"]
        assert problems(schema, reply.json()) == [], place


@pytest.mark.parametrize(
    ("preset", "status"),
    [
        ("no_credits", 402),
        ("key_limit", 403),
        ("no_tool_endpoints", 404),
        ("rate_limited", 429),
        ("context_too_long", 400),
    ],
)
@pytest.mark.parametrize("path", ["/chat/completions", "/messages", "/responses"])
async def test_errors_are_as_described(client: Client, path: str, preset: str, status: int) -> None:
    faults = {"faults": [{"then": {"kind": "status", "preset": preset}}]}
    body = {**CHAT, "input": "hi", "max_tokens": 100}
    async with client(Sandbox(faults=faults)) as http:
        reply = await http.post(path[1:], json=body)
    assert reply.status_code == status
    described = description()["paths"][path]["post"]["responses"].get(str(status))
    if described is None:
        assert (path, status) == ("/messages", 402)  # it happens, and is not described
        return
    wrong = problems(described["content"]["application/json"]["schema"], reply.json())
    # OpenRouter's page on errors has a word as `code` here, its description a number
    expected = "$.error.code: " if path == "/responses" else ()
    assert [one for one in wrong if not one.startswith(expected)] == []
